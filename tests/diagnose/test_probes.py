"""Probes of memory: every answer recomputed by brute force, scores of an oracle and of a guess, parts apart."""

import dataclasses
import inspect

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recurra.diagnose.probes import (
    PROBES,
    Adding,
    Copy,
    Digits,
    ModularArithmetic,
    Parity,
    Probe,
    Recall,
    SelectiveCopy,
    digits,
)
from recurra.diagnose.probes.base import PARTS, generator
from recurra.errors import ConfigError, DataError

SIZES = [
    (Adding(), 2),
    (Adding(), 33),
    (Copy(3, 4), 6),
    (Copy(), 63),
    (SelectiveCopy(5, 3), 10),
    (SelectiveCopy(), 67),
    (Recall(pairs=4, keys=4, values=3), 12),
    (Recall(pairs=7), 40),
    (Parity(), 1),
    (Parity(), 19),
    (ModularArithmetic(), 3),
    (ModularArithmetic(3), 20),
]
NAMES = [f"{probe.name}-{length}" for probe, length in SIZES]


def answers(probe: Probe, row: Tensor) -> dict[int, float]:
    """What one row of inputs asks: place -> right answer, said anew in plain Python."""
    items = row.tolist()
    end = len(items)
    match probe:
        case Adding():
            return {end - 1: sum(number for number, mark in items if mark)}
        case Copy() | SelectiveCopy():
            said = [token - 2 for token in items if token > 1]
            return dict(zip(range(end - len(said), end), said, strict=True))
        case Recall():
            pairs = items[: 2 * probe.pairs]
            book = dict(zip(pairs[0::2], pairs[1::2], strict=True))
            later = range(2 * probe.pairs, end)
            return {t: book[items[t]] - 1 - probe.keys for t in later if items[t]}
        case Parity():
            return {t: sum(items[: t + 1]) % 2 for t in range(end)}
        case ModularArithmetic():
            words = [str(token) if token < probe.modulus else "+-*"[token - probe.modulus] for token in items]
            return {t: eval("".join(words[: t + 1])) % probe.modulus for t in range(0, end, 2)}
    raise AssertionError(probe)


@pytest.mark.parametrize(("probe", "length"), SIZES, ids=NAMES)
def test_answers_are_those_of_brute_force(probe: Probe, length: int) -> None:
    batch = probe.batch(11, length, generator(3, "train"))
    assert (
        batch.inputs.shape[:2] == batch.targets.shape == batch.asked.shape == batch.measured.shape == (11, length)
    )
    assert batch.measured.any(1).all()
    assert not (batch.measured & ~batch.asked).any()
    for row in range(11):
        right = answers(probe, batch.inputs[row])
        places = batch.asked[row].nonzero()[:, 0].tolist()
        assert places == sorted(right)
        for place in places:
            assert float(batch.targets[row, place]) == pytest.approx(right[place], abs=1e-6)


@pytest.mark.parametrize(("probe", "length"), SIZES, ids=NAMES)
def test_a_seed_gives_the_same_and_parts_share_nothing(probe: Probe, length: int) -> None:
    first, again = (probe.batch(5, length, generator(0, "train")) for _ in range(2))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    states = [generator(seed, part, more).initial_seed() for seed in (0, 1) for part in PARTS for more in (7, 8)]
    assert len(set(states)) == len(states)
    if length > 30:
        others = [probe.part(part).batch(5, length, generator(0, part)).inputs for part in ("valid", "test")]
        assert not any(torch.equal(first.inputs[row], other[row]) for other in others for row in range(5))


@pytest.mark.parametrize(("probe", "length"), SIZES, ids=NAMES)
def test_an_oracle_is_perfect_and_a_guess_scores_chance(probe: Probe, length: int) -> None:
    batch = probe.batch(4000, length, generator(1, "test"))
    wanted = batch.targets[batch.measured]
    if probe.classes:
        oracle = functional.one_hot(wanted, probe.classes).double()
        guess = torch.zeros(len(wanted), probe.classes)
        guess[:, 0] = 1
    else:
        oracle, guess = wanted[:, None], torch.ones(len(wanted), 1)
    assert probe.score(oracle, wanted) == (1.0 if probe.classes else 0.0)
    assert probe.is_solved(probe.score(oracle, wanted))
    products = probe == ModularArithmetic() and length == 3  # one sign; a product is 0 in 9 of 25 cases
    chance = 1 / 3 * 9 / 25 + 2 / 3 * 1 / 5 if products else probe.chance
    assert probe.score(guess, wanted) == pytest.approx(chance, abs=0.025)
    assert not probe.is_solved(probe.score(guess, wanted))
    assert probe.better(probe.score(oracle, wanted), probe.score(guess, wanted))
    if probe.tokens:
        assert 0 <= int(batch.inputs.min()) <= int(batch.inputs.max()) < probe.tokens
        assert 0 <= int(wanted.min()) <= int(wanted.max()) == probe.classes - 1
    else:
        assert batch.inputs.shape[2] == probe.features


def test_where_things_stand() -> None:
    marks = Adding().batch(500, 21, generator(0, "train")).inputs[..., 1]
    assert (marks[:, :10].sum(1) == 1).all()
    assert (marks[:, 10:].sum(1) == 1).all()
    assert (marks.sum(0) > 0).all(), "every place is marked at times"
    asked = Recall(pairs=4).batch(2000, 64, generator(0, "train")).asked.double().mean(0)[8:]
    assert asked[0] > 3 * asked[5] > 5 * asked[50], "most questions come early, by a power law"
    places = (SelectiveCopy(4, 4).batch(2000, 20, generator(0, "train")).inputs > 1).double().mean(0)
    assert torch.allclose(places[:16], torch.tensor(0.25, dtype=torch.float64), atol=0.05)
    assert (places[16:] == 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recall(pairs=65, keys=64), "set keys to 65 or more"),
        (lambda: Recall(power=0.0), "power > 0"),
        (lambda: Copy(symbols=0), "copy: symbols: expected a whole number of at least 1, got 0"),
        (lambda: SelectiveCopy(alphabet=1), "selective_copy: alphabet"),
        (lambda: ModularArithmetic(1), "modular_arithmetic: modulus"),
        (lambda: Digits("all"), "expected of to be one of train, valid, test"),
        (lambda: Copy().batch(1, 19, generator(0, "train")), "needs at least 20 time steps, got 19"),
        (lambda: Recall(pairs=64).batch(1, 191, generator(0, "train")), "needs at least 192 time steps, got 191"),
        (lambda: Adding().batch(1, 1, generator(0, "train")), "at least 2 time steps, got 1"),
        (lambda: Adding().batch(0, 9, generator(0, "train")), "size: expected a whole number of at least 1, got 0"),
        (lambda: Parity().batch(1, 0, generator(0, "train")), "length: expected a whole number of at least 1"),
        (lambda: Digits().batch(1, 65, generator(0, "train")), "has 64 pixels"),
    ],
)
def test_what_does_not_fit_is_refused(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def _below(kind: type) -> set[type]:
    return {kind}.union(*map(_below, kind.__subclasses__()))


def test_the_table_names_every_probe() -> None:
    assert set(PROBES.values()) == {kind for kind in _below(Probe) if not inspect.isabstract(kind)}
    assert all(PROBES[name].name == name for name in PROBES)


def test_digits_are_read_in_order_and_parts_do_not_overlap() -> None:
    data = pytest.importorskip("sklearn.datasets").load_digits()
    known: dict[bytes, set[int]] = {row.tobytes(): set() for row in data.data}
    for row, target in zip(data.data, data.target, strict=True):
        known[row.tobytes()].add(int(target))
    seen = []
    for part in PARTS:
        probe = Digits().part(part)
        batch = probe.batch(probe.rows, 64, generator(0, part))
        rows = [(16 * row[:, 0]).double().numpy().tobytes() for row in batch.inputs]
        assert all(int(target) in known[row] for row, target in zip(rows, batch.targets[:, -1], strict=True))
        assert batch.asked.sum() == probe.rows == len(rows)
        seen += rows
    assert sorted(seen) == sorted(row.tobytes() for row in data.data)


def test_digits_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    digits._pictures.cache_clear()
    monkeypatch.setattr(digits, "import_module", absent)
    with pytest.raises(DataError, match=r"pip install 'recurra\[bench\]'"):
        Digits().batch(1, 64, generator(0, "train"))
