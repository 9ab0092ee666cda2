"""The transducer head: likelihood, alignment and searches against all transcripts; streams against the whole."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from recurra import GRU, LSTM, RNN, Bidirectional, Stack, tree
from recurra.errors import ConfigError, DataError, LengthsError, ShapeError
from recurra.heads.transducer import Heard, Transducer
from recurra.heads.transducer_search import BeamSearch, GreedySearch, decode


def head(tokens: int = 3, dtype: torch.dtype = torch.float64) -> Transducer:
    """Random weights, large enough for the answers to differ; the blank is likely."""
    torch.manual_seed(tokens)
    made = Transducer(5, tokens, 4, 6, LSTM, 7).to(dtype).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    with torch.no_grad():
        made.output.bias[0] += 1
    return made.requires_grad_(False)


def sounds(batch: int, time: int, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(batch, time, 5, dtype=dtype)


def one(made: Transducer, encoded: Tensor, tokens: tuple[int, ...]) -> float:
    """-log p of one transcript of frames (T, F)."""
    with torch.no_grad():
        return float(made(encoded[None], None, torch.tensor([tokens], dtype=torch.long).view(1, -1), [len(tokens)]))


def test_transcripts_and_what_is_longer_are_all_there_is() -> None:
    """The probabilities of all transcripts come ever closer to 1."""
    made, encoded = head(), sounds(1, 2)[0]
    sums, total = [], 0.0
    for length in range(7):
        total += sum(math.exp(-one(made, encoded, tokens)) for tokens in product((1, 2), repeat=length))
        sums.append(total)
    assert sums[-1] < 1 + 1e-12
    assert 1 - sums[-1] < (1 - sums[0]) / 2
    assert sums == sorted(sums)


@pytest.mark.parametrize("layer", [RNN, GRU, lambda size, hidden: Stack(GRU(size, hidden), LSTM(hidden, 9))])
def test_steps_of_the_head_give_the_loss(layer: type) -> None:
    """Token by token and frame by frame, as a search goes, against the operation."""
    torch.manual_seed(0)
    made = Transducer(5, 4, 3, 6, layer, 7).double()
    encoded, tokens = sounds(1, 3), [2, 1]
    written, state = made.write(torch.zeros(1, dtype=torch.long))
    places = [written]
    for token in tokens:
        written, state = made.write(torch.tensor([token]), state)
        places.append(written)
    log_p = torch.stack([made.join(made.listen(encoded[0, t : t + 1]), torch.cat(places)) for t in range(3)])
    ways = []
    for first in range(3):
        for second in range(first, 3):
            at = [sum(frame < t for frame in (first, second)) for t in range(4)]
            blanks = sum(log_p[t, at[t + 1], 0] for t in range(3))
            ways.append(blanks + log_p[first, 0, 2] + log_p[second, 1, 1])
    got = made(encoded, None, torch.tensor([tokens]), [2])[0]
    torch.testing.assert_close(got, -torch.stack(ways).logsumexp(0))


def test_rows_do_not_see_each_other_and_padding_is_not_read() -> None:
    made, encoded = head(4), sounds(3, 5)
    tokens, lengths, sizes = torch.tensor([[1, 2, 3], [2, 99, -5], [3, 3, 0]]), [5, 2, 4], [3, 1, 2]
    got = made(
        encoded.masked_fill(torch.arange(5)[:, None] >= torch.tensor(lengths)[:, None, None], math.nan),
        lengths,
        tokens,
        sizes,
    )
    for row, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
        alone = one(made, encoded[row, :length], tuple(tokens[row, :size].tolist()))
        assert float(got[row].detach()) == pytest.approx(alone, rel=1e-12)


def test_an_alignment_is_one_way_and_passages_are_all() -> None:
    made, encoded = head(4), sounds(2, 6)
    tokens, lengths, sizes = torch.tensor([[1, 2, 3], [2, 2, 0]]), [6, 3], [3, 2]
    found = made.align(encoded, lengths, tokens, sizes)
    passages = made.passages(encoded, lengths, tokens, sizes)
    nats = made(encoded, lengths, tokens, sizes).detach()
    for row, heard in enumerate(found):
        assert heard.tokens == tokens[row, : sizes[row]].tolist()
        assert heard.frames == sorted(heard.frames)
        assert 0 <= heard.frames[0] <= heard.frames[-1] < lengths[row]
        assert heard.nats >= float(nats[row])
        assert all(0 < p < 1 for p in heard.confidences)
        frames = passages[row, : lengths[row]]
        torch.testing.assert_close(frames.sum(1), torch.ones_like(frames[:, 0]))
        assert not passages[row, lengths[row] :].any()
        assert not frames[:, sizes[row] + 1 :].any()


def test_a_beam_as_wide_as_all_is_exact() -> None:
    made, encoded = head(), sounds(1, 2)[0]
    search = BeamSearch(made, beam=1000, most=4)
    found = search.results(search.push(encoded, search.initial()))
    assert [heard.nats for heard in found] == sorted(heard.nats for heard in found)
    short = [heard for heard in found if len(heard.tokens) <= 4]  # of these no way writes more than four at a frame
    assert len(short) == sum(2**length for length in range(5))
    for heard in short[:12]:
        assert heard.nats == pytest.approx(one(made, encoded, tuple(heard.tokens)), rel=1e-9)
    every = {tokens: one(made, encoded, tokens) for length in range(4) for tokens in product((1, 2), repeat=length)}
    assert found[0].tokens == list(min(every, key=every.__getitem__))


def test_greedy_goes_the_likeliest_step() -> None:
    made, encoded = head(4), sounds(1, 30)[0]
    search = GreedySearch(made, most=2)
    heard = search.result(search.push(encoded, search.initial()))
    written, state = made.write(torch.zeros(1, dtype=torch.long))
    tokens, frames, nats = [], [], 0.0
    for t in range(30):
        for _ in range(3):
            log_p = made.join(made.listen(encoded[t : t + 1]), written)[0]
            best = 0 if frames.count(t) == 2 else int(log_p.argmax())
            nats -= float(log_p[best])
            if not best:
                break
            tokens.append(best)
            frames.append(t)
            written, state = made.write(torch.tensor([best]), state)
    assert (heard.tokens, heard.frames) == (tokens, frames)
    assert heard.nats == pytest.approx(nats)
    assert len(tokens) > 3
    assert heard.nats >= one(made, encoded, tuple(tokens))


def test_a_wider_beam_finds_what_is_likelier() -> None:
    made, encoded = head(5), sounds(1, 12)[0]
    costs = []
    for beam in (1, 2, 8, 64):
        (heard,) = decode(BeamSearch(made, beam), encoded[None])
        costs.append(one(made, encoded, tuple(heard.tokens)))
        assert heard.nats >= costs[-1] - 1e-9
    assert costs[-1] < costs[0]
    assert costs[-1] == min(costs)


@pytest.mark.parametrize("kind", ["greedy", "beam"])
def test_any_cut_is_the_whole_to_the_last_bit(kind: str) -> None:
    made, encoded = head(4, torch.float32), sounds(1, 17, torch.float32)[0]
    search = GreedySearch(made) if kind == "greedy" else BeamSearch(made, 3)
    whole = search.push(encoded, search.initial())
    for cut in (1, 2, 5, 16):
        state = search.push(encoded[:0], search.initial())
        for part in encoded.split(cut):
            before = tree.map(Tensor.clone, state)
            after = search.push(part, state)
            assert all(map(torch.equal, tree.leaves(before), tree.leaves(state))), "a state changed in place"
            state = tree.build(tree.spec(after), tree.leaves(after))  # as from a file
        assert all(map(torch.equal, tree.leaves(state), tree.leaves(whole)))
        assert search.result(state) == search.result(whole)


@pytest.mark.parametrize("beam", [0, 1])
def test_what_is_forgotten_still_has_a_say(beam: int) -> None:
    made, encoded = head(4), sounds(1, 30)[0]
    search = BeamSearch(made, beam) if beam else GreedySearch(made)
    whole = search.result(search.push(encoded, search.initial()))
    before = search.push(encoded[:13], search.initial())
    first, last = search.result(before), search.result(search.push(encoded[13:], search.forget(before)))
    assert first.tokens
    assert last.tokens
    assert first.tokens + last.tokens == whole.tokens
    assert first.frames + [13 + frame for frame in last.frames] == whole.frames
    assert first.nats + last.nats == pytest.approx(whole.nats)
    assert search.result(search.push(encoded[13:], search.initial())).tokens != last.tokens


def test_rows_are_decoded_to_their_lengths() -> None:
    made, encoded = head(4), sounds(3, 9)
    for search in (GreedySearch(made), BeamSearch(made, 3)):
        found = decode(search, encoded, [9, 0, 4])
        assert found[1] == Heard([], [], [], 0.0)
        for row, length in ((0, 9), (2, 4)):
            assert found[row] == decode(search, encoded[row : row + 1, :length])[0]


def test_it_learns_to_write_what_it_hears_once() -> None:
    """A token may sound for some frames, and after a rest again; only what was written tells that it is no news."""
    torch.manual_seed(0)
    made = Transducer(4, 4, 8, 16, joint=16)
    lengths, kinds = torch.randint(4, 9, (64,)), torch.randint(0, 4, (64, 8))
    encoded = torch.nn.functional.one_hot(kinds, 4).float()
    rows = []
    for row, length in zip(kinds.tolist(), lengths.tolist(), strict=True):
        heard = [kind for kind in row[:length] if kind]
        rows.append([kind for i, kind in enumerate(heard) if not i or kind != heard[i - 1]])
    tokens = torch.tensor([row + [0] * (8 - len(row)) for row in rows])
    sizes = [len(row) for row in rows]
    optimizer = torch.optim.AdamW(made.parameters(), 0.03)
    for _ in range(80):
        optimizer.zero_grad()
        made(encoded, lengths, tokens, sizes).mean().backward()
        optimizer.step()
    made.eval()
    for search in (GreedySearch(made), BeamSearch(made, 2)):
        assert [one.tokens for one in decode(search, encoded, lengths)] == rows
    for row, heard in enumerate(made.align(encoded, lengths, tokens, sizes)):
        assert kinds[row, heard.frames].tolist() == heard.tokens


def test_half_precision_is_computed_in_float32() -> None:
    made = head(4, torch.float32)
    tokens, sizes = torch.tensor([[1, 2]] * 2), [2, 1]
    encoded = sounds(2, 5, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = made(encoded, None, tokens, sizes)
        assert "native ran" in made.explain(encoded, None, tokens, sizes) or "blocks ran" in made.explain(
            encoded, None, tokens, sizes
        )
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, made(encoded, None, tokens, sizes), rtol=0.02, atol=0.02)


def test_what_cannot_be_is_refused() -> None:
    made, encoded = head(4), sounds(2, 3)
    tokens = torch.tensor([[1, 2], [3, 4]])
    with pytest.raises(DataError, match="row 1, place 1: expected a token of 1 to 3, for 0 is the blank; got 4"):
        made(encoded, None, tokens, [2, 2])
    with pytest.raises(DataError, match="row 0 has tokens but no frame"):
        made(encoded, [0, 3], tokens, [1, 1])
    with pytest.raises(ShapeError, match=r"expected encoded of shape \(B, T, 5\), got \(2, 3, 4\)"):
        made(encoded[..., 1:], None, tokens, [1, 1])
    with pytest.raises(ShapeError, match=r"expected tokens of shape \(2, U\), got \(1, 2\)"):
        made(encoded, None, tokens[:1], [1])
    with pytest.raises(LengthsError, match="got 3 in row 0"):
        made(encoded, None, tokens, [3, 1])
    with pytest.raises(ConfigError, match="the blank and at least one token, got 1"):
        Transducer(5, 1)
    with pytest.raises(ConfigError, match="take a causal layer"):
        Transducer(5, 3, layer=lambda size, hidden: Bidirectional(GRU(size, hidden), GRU(size, hidden)))
    with pytest.raises(ConfigError, match="expected beam of at least 1, got 0"):
        BeamSearch(made, 0)
    with pytest.raises(ConfigError, match="expected most of at least 1, got 0"):
        GreedySearch(made, 0)
