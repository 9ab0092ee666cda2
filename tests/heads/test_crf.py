"""The conditional random field against all paths: likelihood, best paths, posterior, spans, streaming, schemes."""

from itertools import pairwise, product
from math import exp, inf, log

import pytest
import torch
from torch import Tensor

from recurra import tree
from recurra.errors import ConfigError, DataError, DtypeError, LengthsError, ShapeError
from recurra.heads.crf import CRF, Allowed, Span, allowed_for

SIZES = [(1, 1), (1, 4), (2, 3), (3, 4), (4, 3)]  # K, T


def field(kinds: int, allowed: Allowed | None = None, dtype: torch.dtype = torch.float64) -> CRF:
    """Random weights."""
    torch.manual_seed(kinds)
    crf = CRF(kinds, allowed).to(dtype)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def random_allowed(kinds: int) -> Allowed:
    """Some of everything is forbidden, and tag 0 is always possible."""
    torch.manual_seed(7)
    found = Allowed(torch.rand(kinds) < 0.6, torch.rand(kinds, kinds) < 0.6, torch.rand(kinds) < 0.6)
    found.begins[0] = found.transitions[0, 0] = found.ends[0] = True
    return found


def all_paths(crf: CRF, scores: Tensor) -> dict[tuple[int, ...], float]:
    """The log probability of every path through scores (T, K) that is allowed, best first."""
    transitions, begins, ends = (weight.detach().double() for weight in crf._weights(torch.float64))
    found = {}
    for path in product(range(crf.tags), repeat=len(scores)):
        score = sum(float(scores[t, tag]) for t, tag in enumerate(path))
        score += sum(float(transitions[a, b]) for a, b in pairwise(path))
        score += float(begins[path[0]] + ends[path[-1]]) if path else 0.0
        if score > -inf:
            found[path] = score
    total = float(torch.tensor(list(found.values()), dtype=torch.float64).logsumexp(0)) if found else 0.0
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return {path: score - total for path, score in ranked}


def cases() -> list[tuple[CRF, Tensor]]:
    """Fields of all sizes, free and constrained."""
    return [
        (field(kinds, allowed), 2 * torch.randn(1, time, kinds, dtype=torch.float64))
        for kinds, time in SIZES
        for allowed in (None, random_allowed(kinds))
    ]


# Against all paths.


def test_likelihood_is_the_share_of_a_path() -> None:
    for crf, scores in cases():
        paths = all_paths(crf, scores[0])
        for path, wanted in list(paths.items())[:20]:
            nats = crf(scores, torch.tensor([path]))
            assert float(nats.detach()) == pytest.approx(-wanted, abs=1e-9)


def test_probabilities_sum_to_one() -> None:
    crf = field(3, random_allowed(3))
    scores = torch.randn(1, 4, 3, dtype=torch.float64)
    paths = torch.tensor(list(all_paths(crf, scores[0])))
    nats = crf(scores.expand(len(paths), -1, -1), paths)
    assert float((-nats.detach()).exp().sum()) == pytest.approx(1)


def test_decoding_finds_the_best_path() -> None:
    for crf, scores in cases():
        (path, wanted), *_ = all_paths(crf, scores[0]).items()
        tags, log_prob = crf.decode(scores)
        assert tuple(tags[0].tolist()) == path
        assert float(log_prob) == pytest.approx(wanted, abs=1e-9)


def test_the_n_best_paths_are_those_of_all() -> None:
    for crf, scores in cases():
        paths = all_paths(crf, scores[0])
        for n in (1, 2, 7, 100):
            tags, log_probs = crf.best(scores, None, n)
            assert tags.shape == (1, n, scores.shape[1])
            for i, (path, wanted) in enumerate(list(paths.items())[:n]):
                assert tuple(tags[0, i].tolist()) == path
                assert float(log_probs[0, i]) == pytest.approx(wanted, abs=1e-9)
            assert (tags[0, len(paths) :] == -1).all()
            assert (log_probs[0, len(paths) :] == -inf).all()


def test_marginals_count_the_paths_through_each_tag() -> None:
    for crf, scores in cases():
        wanted = torch.zeros_like(scores[0])
        for path, log_prob in all_paths(crf, scores[0]).items():
            for t, tag in enumerate(path):
                wanted[t, tag] += exp(log_prob)
        torch.testing.assert_close(crf.marginals(scores)[0], wanted, atol=1e-9, rtol=0)


def test_spans_count_the_paths_that_hold_them() -> None:
    for crf, scores in cases():
        time, kinds = scores.shape[1], crf.tags
        paths = all_paths(crf, scores[0])
        spans = [Span(0, begin, tags) for begin in range(time) for tags in _tags(time - begin, kinds)]
        wanted = [
            sum(
                exp(log_prob)
                for path, log_prob in paths.items()
                if all(tag in _set(want) for tag, want in zip(path[span.begin :], span.tags, strict=False))
            )
            for span in spans
        ]
        found = crf.span_probabilities(scores, None, spans)
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), atol=1e-9, rtol=0)


def _tags(most: int, kinds: int) -> list[list[int | list[int]]]:
    """Tags of spans of up to ``most`` steps, the last one also with sets."""
    fixed = [list(tags) for size in range(1, most + 1) for tags in product(range(kinds), repeat=size)][:40]
    sets = [[list(range(kinds)), 0][:most], [0, list(range(kinds - 1))][:most], [0, list(range(kinds)), 0][:most]]
    return [*fixed, *(tags for tags in sets if all(tag != [] for tag in tags))]


def _set(want: int | list[int]) -> list[int]:
    return [want] if isinstance(want, int) else want


def test_gradients_are_exact() -> None:
    for kinds, allowed in ((3, None), (4, random_allowed(4))):
        crf = field(kinds, allowed)
        lengths = torch.tensor([4, 0, 1, 3])
        scores = torch.randn(4, 4, kinds, dtype=torch.float64, requires_grad=True)
        tags, _ = crf.decode(scores.detach(), lengths)
        given = [scores, *crf.parameters()]
        loss = lambda *_, crf=crf, scores=scores, tags=tags: crf(scores, tags, lengths)  # noqa: B023
        assert torch.autograd.gradcheck(loss, given)
        assert torch.autograd.gradgradcheck(loss, given)


def test_the_gradient_of_the_scores_is_marginals_less_tags() -> None:
    crf = field(4)
    scores = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    tags = torch.randint(4, (2, 5))
    (slope,) = torch.autograd.grad(crf(scores, tags).sum(), scores)
    hot = torch.nn.functional.one_hot(tags, 4)
    torch.testing.assert_close(slope, crf.marginals(scores) - hot)


# Ragged rows.


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_in_a_batch_is_that_row_alone(dtype: torch.dtype) -> None:
    crf = field(3, random_allowed(3), dtype)
    lengths = [4, 0, 1, 3]
    scores = torch.randn(4, 4, 3, dtype=dtype)
    padding = torch.arange(4) >= torch.tensor(lengths)[:, None]
    tags, log_probs = crf.decode(scores, lengths)
    assert (tags[padding] == -1).all()
    scores = scores.masked_fill(padding[..., None], float("nan")).requires_grad_()
    tags = tags.masked_fill(padding, 99)
    nats, marginals, (best, bests) = (
        crf(scores, tags, lengths),
        crf.marginals(scores, lengths),
        crf.best(scores, lengths, 3),
    )
    nats.sum().backward()
    assert scores.grad is not None
    assert not scores.grad[padding].any()
    assert not marginals[padding].any()
    assert all(parameter.grad.isfinite().all() for parameter in crf.parameters() if parameter.grad is not None)
    for row, length in enumerate(lengths):
        alone, path = scores[row : row + 1, :length].detach(), tags[row : row + 1, :length]
        torch.testing.assert_close(nats[row : row + 1], crf(alone, path))
        torch.testing.assert_close(-nats[row : row + 1], log_probs[row : row + 1])
        torch.testing.assert_close(marginals[row : row + 1, :length], crf.marginals(alone))
        found, probabilities = crf.best(alone, None, 3)
        assert torch.equal(best[row, :, :length], found[0])
        assert (best[row, :, length:] == -1).all()
        torch.testing.assert_close(bests[row], probabilities[0])
        if length:
            span = Span(row, length - 1, [int(path[0, -1])])
            one = crf.span_probabilities(scores, lengths, [span])
            torch.testing.assert_close(one[0], marginals[row, length - 1, path[0, -1]])


def test_an_empty_row_has_one_path() -> None:
    crf = field(3, dtype=torch.float32)
    for scores, lengths in (
        (torch.randn(2, 3, 3), [0, 0]),
        (torch.randn(2, 0, 3), None),
        (torch.randn(0, 3, 3), None),
    ):
        batch, time, _ = scores.shape
        scores.requires_grad_()
        nats = crf(scores, torch.zeros(batch, time, dtype=torch.int64), lengths)
        nats.sum().backward()
        assert torch.equal(nats, torch.zeros(batch))
        assert scores.grad is not None
        assert not scores.grad.any()
        tags, log_prob = crf.decode(scores, lengths)
        assert torch.equal(tags, torch.full((batch, time), -1))
        assert torch.equal(log_prob, torch.zeros(batch))
        tags, log_probs = crf.best(scores, lengths, 2)
        assert torch.equal(tags, torch.full((batch, 2, time), -1))
        assert torch.equal(log_probs, torch.tensor([0, -inf]).expand(batch, 2))
        assert torch.equal(crf.marginals(scores, lengths), torch.zeros(batch, time, 3))


# What is forbidden.


def test_forbidden_has_probability_zero() -> None:
    names = ["O", "B-X", "I-X", "B-Y", "I-Y"]
    crf = field(5, allowed_for(names, "BIO"), torch.float32)
    scores = torch.randn(3, 6, 5)
    scores[..., 2] += 50  # I-X is what the network wants
    tags, log_prob = crf.decode(scores)
    assert all(row[0] == 1 and set(row[1:]) == {2} for row in tags.tolist())
    assert log_prob.isfinite().all()
    assert not crf.marginals(scores)[:, 0, 2].any()
    wrong = Span(1, 2, [names.index("B-Y"), names.index("I-X")])
    assert not crf.span_probabilities(scores, None, [wrong]).any()
    crf(scores, tags).sum().backward()
    allowed = allowed_for(names, "BIO")
    for name in ("begins", "transitions", "ends"):
        slope = getattr(crf, name).grad
        assert slope.isfinite().all()
        assert not slope[~getattr(allowed, name)].any()


def test_no_path_at_all() -> None:
    """Where nothing is allowed decoding says so, and other rows do not see it."""
    crf = field(2, dtype=torch.float32)
    scores = torch.randn(2, 4, 2)
    scores[0, 2] = -inf
    tags, log_prob = crf.decode(scores)
    assert (tags[0] == -1).all()
    assert log_prob[0] == -inf
    assert log_prob[1].isfinite()
    assert not crf.marginals(scores)[0].any()
    tags, log_probs = crf.best(scores, None, 2)
    assert (tags[0] == -1).all()
    assert (log_probs[0] == -inf).all()
    torch.testing.assert_close(crf.marginals(scores)[1], crf.marginals(scores[1:])[0])


def test_a_score_of_minus_infinity_forbids_a_tag_at_one_step() -> None:
    crf = field(3)
    scores = torch.randn(1, 4, 3, dtype=torch.float64)
    scores[0, 2, 1] = -inf
    test = crf.marginals(scores)
    assert not test[0, 2, 1]
    (path, wanted), *_ = all_paths(crf, scores[0]).items()
    tags, log_prob = crf.decode(scores)
    assert tuple(tags[0].tolist()) == path
    assert float(log_prob) == pytest.approx(wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_path_that_cannot_be_is_refused(dtype: torch.dtype) -> None:
    names = ["O", "B-X", "I-X", "E-X", "S-X"]
    crf = field(5, allowed_for(names, "BIOES"), dtype)
    scores = torch.randn(2, 4, 5, dtype=dtype)
    right = [0, 1, 2, 3]
    for wrong, message in (
        ([0, 2, 2, 3], "row 1, step 1: tag 2 may not follow tag 0; mend the tags"),
        ([2, 3, 0, 0], "row 1, step 0: tag 2 may not begin a row"),
        ([0, 0, 0, 1], "row 1, step 3: tag 1 may not end a row"),
        ([0, 0, 5, 0], "row 1, step 2: expected a tag of 0 to 4, got 5"),
        ([0, 0, -1, 0], "row 1, step 2: expected a tag of 0 to 4, got -1"),
    ):
        with pytest.raises(DataError, match=message):
            crf(scores, torch.tensor([right, wrong]))
    crf(scores, torch.tensor([right, [0, 0, -1, 99]]), [4, 2])  # padding is not looked at
    scores[0, 2, 2] = -inf
    with pytest.raises(DataError, match="row 0, step 2: tag 2 is right, but its score is -inf"):
        crf(scores, torch.tensor([right, right]))


# Numbers.


def test_long_rows_and_extreme_scores_keep_their_precision() -> None:
    """Float32 is as good after thousands of steps as in the beginning."""
    crf = field(5, random_allowed(5), torch.float32)
    exact = field(5, random_allowed(5), torch.float64)
    exact.load_state_dict({name: value.double() for name, value in crf.state_dict().items()})
    for time, scale, error in ((3000, 2.0, 1e-4), (50, 1e4, 1e-2)):  # at 20,000 float32 has steps of 0.002
        scores = (scale * torch.randn(1, time, 5)).round(decimals=2)
        tags, log_prob = crf.decode(scores)
        wanted, exact_log_prob = exact.decode(scores.double())
        assert torch.equal(tags, wanted)
        torch.testing.assert_close(log_prob.double(), exact_log_prob, atol=error, rtol=1e-6)
        torch.testing.assert_close(
            crf.marginals(scores).double(), exact.marginals(scores.double()), atol=2e-5, rtol=0
        )


def test_the_only_way_may_lead_through_the_least_likely_tag() -> None:
    """e^-10000 is nothing in any type of number, and still all there is."""
    allowed = Allowed(
        torch.tensor([True, True]), torch.tensor([[False, False], [True, True]]), torch.tensor([True, True])
    )
    crf = CRF(2, allowed)
    scores = torch.tensor([[[1e4, -1e4], [1e4, -1e4], [0.0, 1.0]]])
    tags, log_prob = crf.decode(scores)
    assert tags.tolist() == [[1, 1, 1]]
    assert float(log_prob) == pytest.approx(float(torch.tensor(1.0).sigmoid().log()))
    torch.testing.assert_close(crf.marginals(scores)[0, :2], torch.tensor([[0.0, 1], [0, 1]]))
    found = torch.autograd.grad(crf(scores, torch.tensor([[1, 1, 0]])).sum(), [crf.transitions])[0]
    share = float(torch.tensor(1.0).sigmoid())
    torch.testing.assert_close(found, torch.tensor([[0.0, 0], [1 - share - 1, share]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    crf = field(3, dtype=torch.float32)
    scores = torch.randn(2, 5, 3).to(dtype).requires_grad_()
    tags = torch.randint(3, (2, 5))
    nats = crf(scores, tags)
    assert nats.dtype == torch.float32
    assert torch.equal(nats, crf(scores.float(), tags))
    nats.sum().backward()
    assert scores.grad is not None
    assert scores.grad.dtype == dtype
    assert crf.marginals(scores).dtype == torch.float32


# Streaming.


def test_a_step_is_the_last_marginal_of_the_row_so_far() -> None:
    crf = field(4, random_allowed(4))
    torch.nn.init.zeros_(crf.ends)
    crf.allowed_ends.fill_(True)
    scores = torch.randn(2, 5, 4, dtype=torch.float64)
    state = None
    for t in range(5):
        p, state = crf.step(scores[:, t], state)
        torch.testing.assert_close(p, crf.marginals(scores[:, : t + 1])[:, -1])
        assert tree.names(state) == ["expected"]
        state = tree.build(tree.spec(state), [leaf.clone() for leaf in tree.leaves(state)])
    swapped = tree.rows(state, [1, 0])
    torch.testing.assert_close(crf.step(scores[[1, 0], 0], swapped)[0], crf.step(scores[:, 0], state)[0][[1, 0]])


# Schemes.


def legal(names: list[str], scheme: str, tags: str) -> bool:
    allowed = allowed_for(names, scheme)
    path = [names.index(tag) for tag in tags.split()]
    steps = all(allowed.transitions[a, b] for a, b in pairwise(path))
    return bool(allowed.begins[path[0]] and allowed.ends[path[-1]] and steps)


def test_schemes_allow_what_they_should() -> None:
    bio = ["O", "B-X", "I-X", "B-Y", "I-Y"]
    for tags in ("O", "B-X", "B-X I-X I-X", "B-X B-X", "B-X I-X B-Y I-Y O", "B-X I-X B-X"):
        assert legal(bio, "BIO", tags), tags
    for tags in ("I-X", "O I-X", "B-X I-Y", "B-X O I-X", "B-X I-X I-Y"):
        assert not legal(bio, "BIO", tags), tags
    bioes = ["O", *(f"{letter}-{kind}" for letter in "BIES" for kind in ("X", "Y-Z"))]
    for tags in ("O", "S-X", "B-X E-X", "B-X I-X I-X E-X", "S-X S-X B-X E-X O B-Y-Z E-Y-Z"):
        assert legal(bioes, "BIOES", tags), tags
    for tags in (
        "B-X",
        "I-X",
        "E-X",
        "B-X I-X",
        "B-X E-Y-Z",
        "B-X O",
        "B-X S-X",
        "B-X B-X E-X",
        "S-X E-X",
        "O E-X",
    ):
        assert not legal(bioes, "BIOES", tags), tags
    assert legal(["O", "I-X", "I-Y"], "IO", "I-X I-Y O I-Y")
    assert legal(["noun", "B-"], "free", "noun B- noun")


def test_names_that_fit_no_scheme_are_refused() -> None:
    for names, scheme, message in (
        (["O", "PER"], "BIO", "expected O or B-TYPE, I-TYPE in the scheme BIO, got 'PER'"),
        (["O", "B-"], "BIO", "got 'B-'"),
        (["O", "-X"], "BIO", "got '-X'"),
        (["O", "S-X"], "BIO", "got 'S-X'"),
        (["O", "I-X"], "BIO", "I-X needs B-X in the scheme BIO, and there is none; is it another scheme"),
        (["O", "B-X"], "BIOES", "B-X needs E-X"),
        (["O", "O"], "free", "expected each name once"),
    ):
        with pytest.raises(DataError, match=message):
            allowed_for(names, scheme)
    with pytest.raises(ConfigError, match="expected one of BIO, BIOES, IO, free, got 'IOB'"):
        allowed_for(["O"], "IOB")


# Wrong calls.


def test_wrong_tensors_are_refused() -> None:
    crf = CRF(3)
    scores, tags = torch.randn(2, 5, 3), torch.zeros(2, 5, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"expected scores of shape \(B, T, 3\), got \(2, 5, 4\)"):
        crf(torch.randn(2, 5, 4), tags)
    with pytest.raises(ShapeError, match=r"expected scores of shape \(B, T, 3\), got \(5, 3\)"):
        crf.decode(scores[0])
    with pytest.raises(ShapeError, match=r"expected tags of shape \(2, 5\) as scores, got \(2, 4\)"):
        crf(scores, tags[:, :4])
    with pytest.raises(DtypeError, match=r"expected tags as whole numbers in int64, got torch.float32"):
        crf(scores, tags.float())
    with pytest.raises(DtypeError, match=r"tensor of real numbers, got torch.int64"):
        crf.marginals(scores.long())
    with pytest.raises(LengthsError, match="got 6 in row 1"):
        crf(scores, tags, [5, 6])
    with pytest.raises(ConfigError, match="n >= 1"):
        crf.best(scores, None, 0)
    with pytest.raises(ConfigError, match="at least one tag"):
        CRF(0)
    with pytest.raises(ShapeError, match=r"expected allowed.begins as booleans \(4,\)"):
        CRF(4, allowed_for(["O", "B-X", "I-X"], "BIO"))
    for span, message in (
        (Span(2, 0, [1]), "span 0 is in row 2, but there are 2 rows"),
        (Span(1, 2, [1, 1]), "span 0 is steps 2 to 3 of row 1, which has 3 steps"),
        (Span(1, 0, []), "span 0 is steps 0 to -1"),
        (Span(1, 0, [3]), r"span 0 asks for tags \[3\], expected 0 to 2"),
    ):
        with pytest.raises(DataError, match=message):
            crf.span_probabilities(scores, [5, 3], [span])
    assert crf.span_probabilities(scores, None, []).shape == (0,)


def test_a_new_field_knows_nothing() -> None:
    crf = CRF(4)
    nats = crf(torch.zeros(1, 3, 4), torch.tensor([[0, 3, 1]]))
    assert float(nats.detach()) == pytest.approx(3 * log(4))
    assert str(crf) == "CRF(4)"
    assert set(crf.state_dict()) == {"begins", "transitions", "ends"}
    said = crf.explain(torch.zeros(1, 3, 4, dtype=torch.float64))
    assert "crf of K=4 on B=1, T=3: reference ran" in said
