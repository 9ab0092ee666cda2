"""Measured memory: what is learned, what fails and is said, what a stopped grid keeps, pictures, command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.image import imread
from rich.console import Console
from torch import Tensor

import recurra
from recurra import LSTM, GatedDelta, Stepwise
from recurra.cli import main
from recurra.diagnose import memory
from recurra.diagnose.memory import MemoryTest, Outcome, measure_memory, probe_from, width_for
from recurra.diagnose.memory_pictures import draw_generalisation, draw_heat_map, draw_learning, skill
from recurra.diagnose.memory_report import MemoryReport
from recurra.diagnose.practice import Practice, practise
from recurra.diagnose.probe_network import ProbeNetwork, begin_chrono, count_parameters, factory
from recurra.diagnose.probes import Adding, Copy, Parity, Recall
from recurra.errors import ConfigError, RunError

QUICK = Practice(
    steps=300, batch=32, learning_rate=0.02, warmup=10, evaluate_every=25, valid_rows=64, test_rows=128
)
SHORT = replace(QUICK, steps=4, evaluate_every=2)
GRID = MemoryTest(("rnn", "gru"), Parity(), (5, 7), (3, 4), practice=SHORT)


class Explosive(Stepwise):
    """A layer whose state grows tenfold at each step: h' = 10 h + x (none, 2026)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((size,), 10.0))
        self.input_shape = self.output_shape = (size,)

    def initial_state(self, batch: int, like: Tensor | None = None) -> Tensor:
        return (self.scale if like is None else like).new_zeros(batch, *self.scale.shape)

    def step(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = self.initial_state(len(x), x) if state is None else state
        return self.scale * state + x, self.scale * state + x


def same(a: MemoryReport, b: MemoryReport) -> bool:
    """Equal but for the clock."""
    return [replace(o, seconds=0) for o in a.outcomes] == [replace(o, seconds=0) for o in b.outcomes]


def test_parity_is_learned_and_goes_on_beyond_the_practised_length() -> None:
    test = MemoryTest(("lstm",), Parity(), (8,), (16,), elsewhere=(64,), practice=QUICK)
    [outcome] = measure_memory(test).outcomes
    assert outcome.ending == "solved"
    assert outcome.elsewhere[64] > 0.99
    assert outcome.steps < QUICK.steps, "it stops when solved"
    assert outcome.curve[-1][0] == outcome.steps
    assert outcome.parameters == 2 * 16 + count_parameters(LSTM(16, 16)) + 2 * 17


def test_copy_is_learned_with_a_curriculum() -> None:
    practice = replace(QUICK, steps=600, curriculum=4)
    test = MemoryTest(("gru",), Copy(2, 3), (10,), (24,), practice=practice)
    [outcome] = measure_memory(test).outcomes
    assert outcome.ending == "solved", outcome


def test_what_cannot_be_done_is_said() -> None:
    test = MemoryTest(("rnn",), Recall(pairs=4, keys=8, values=8), (16,), (2,), practice=SHORT)
    report = measure_memory(test)
    [outcome] = report.outcomes
    assert outcome.ending == "not solved"
    assert report.words(outcome).startswith(f"not solved: accuracy {outcome.score:.4g}, chance 0.125")


def test_a_diverging_training_and_a_refused_layer_are_outcomes() -> None:
    def fussy(width: int) -> GatedDelta:
        return GatedDelta(width, width, heads=5)

    layers: dict = {"explosive": Explosive, "fussy": fussy}
    test = MemoryTest(("explosive", "fussy", "gru"), Parity(), (200,), (4,), elsewhere=(3,), practice=SHORT)
    report = measure_memory(test, layers=layers)
    diverged, refused, fine = report.outcomes
    assert (diverged.ending, diverged.score, diverged.elsewhere) == ("diverged", None, {})
    assert "not finite at step 1; try a lower practice.learning_rate" in diverged.note
    assert refused.ending == "refused"
    assert "heads to divide hidden_size=4" in report.words(refused)
    assert fine.score is not None
    assert len(report.notes()) == 2


def test_a_stopped_grid_goes_on_to_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure_memory(GRID)
    again = measure_memory(GRID)
    assert same(whole, again)
    assert len(whole.outcomes) == 8
    own, calls = memory._measure, []

    def interrupted(*arguments) -> Outcome:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(arguments[1])
        return own(*arguments)

    monkeypatch.setattr(memory, "_measure", interrupted)
    part = measure_memory(GRID, tmp_path / "out")
    assert (part.finished, len(part.outcomes)) == (False, 3)
    assert len(json.loads((tmp_path / "out/results.json").read_text())["outcomes"]) == 3
    monkeypatch.setattr(memory, "_measure", own)
    rest = measure_memory(GRID, tmp_path / "out", resume=True)
    assert rest.finished
    assert same(rest, whole)
    monkeypatch.setattr(memory, "_measure", None)  # nothing is left to do
    assert measure_memory(GRID, tmp_path / "out", resume=True).outcomes == rest.outcomes


def test_results_are_neither_replaced_nor_mixed(tmp_path: Path) -> None:
    small = replace(GRID, layers=("rnn",), lengths=(5,), widths=(3,))
    measure_memory(small, tmp_path)
    with pytest.raises(RunError, match="exists already; go on with it by --resume"):
        measure_memory(small, tmp_path)
    for other in (replace(small, probe=Copy(1, 2)), replace(small, practice=replace(SHORT, seed=1))):
        with pytest.raises(RunError, match="was measured with"):
            measure_memory(other, tmp_path, resume=True)
    (tmp_path / "results.json").write_text(json.dumps({**small.describe(), "outcomes": [{}]}))
    with pytest.raises(RunError, match="outcomes are broken"):
        measure_memory(small, tmp_path, resume=True)


def test_random_numbers_outside_stay_as_they_were() -> None:
    before = torch.get_rng_state()
    measure_memory(replace(GRID, layers=("gru",), lengths=(5,), widths=(3,)))
    width_for("lstm", 1000, Parity())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("layer", ["rnn", "lstm", "gru", "mlstm"])
def test_width_for_is_the_nearest(layer: str) -> None:
    make = factory(layer)
    for probe in (None, Parity()):
        wanted = 5000
        sizes = {
            width: count_parameters(make(width) if probe is None else ProbeNetwork(make, width, probe))
            for width in range(1, 90)
        }
        best = width_for(layer, wanted, probe)
        assert abs(sizes[best] - wanted) == min(abs(size - wanted) for size in sizes.values())
    assert width_for(layer, 5000, multiple=8) % 8 == 0
    with pytest.raises(ConfigError, match="too few"):
        width_for(layer, 1, multiple=8)


def test_layers_by_name() -> None:
    stacked = factory("convolution+lstm")(6)
    assert [type(layer).__name__ for layer in stacked] == ["CausalConvolution", "LSTM"]
    with pytest.raises(ConfigError, match="did you mean 'lstm'"):
        factory("gru+lstmm")


def test_chrono_reaches_the_gates_that_keep() -> None:
    network = ProbeNetwork(factory("lstm"), 50, Adding())
    assert begin_chrono(network, 1000) == 1
    f = network.layer.b.chunk(4)[1]
    assert 4 < float(f.detach().mean()) < 6.9, "log u, u uniform in 1 .. 999"
    course = practise(ProbeNetwork(factory("rnn"), 4, Adding()), Adding(), 6, replace(SHORT, start="chrono"))
    assert course.note.startswith("it has no gates that chrono knows")


def test_minutes_end_the_practice() -> None:
    course = practise(ProbeNetwork(factory("rnn"), 2, Parity()), Parity(), 4, replace(QUICK, minutes=1e-9))
    assert (course.steps, course.ending) == (0, "finished")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": (9,), "probe": Copy()}, "needs at least 20 time steps, got 9"),
        ({"elsewhere": (9,), "probe": Copy(), "lengths": (30,)}, "needs at least 20 time steps, got 9"),
        ({"probe": Copy(), "lengths": (30,), "practice": replace(SHORT, curriculum=3)}, "at least 20 time steps"),
        ({"widths": (0,)}, "whole number of at least 1, got 0"),
        ({"widths": ()}, "expected widths or parameters"),
        ({"layers": ()}, "at least one of layers"),
    ],
)
def test_a_test_that_makes_no_sense_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(GRID, **change)


def test_practice_refuses_and_falls() -> None:
    with pytest.raises(ConfigError, match=r"practice\.steps: expected a whole number"):
        Practice(steps=0)
    with pytest.raises(ConfigError, match=r"practice\.learning_rate: expected a positive"):
        Practice(learning_rate=0.0)
    with pytest.raises(ConfigError, match=r"practice\.clip: expected 0 or more"):
        Practice(clip=-1.0)
    practice = Practice(learning_rate=1.0, warmup=10)
    assert practice.rate(0, 0.0) == pytest.approx(0.1)
    assert practice.rate(50, 0.5) == pytest.approx(0.5)
    assert practice.rate(99, 1.0) == pytest.approx(0.0)


@pytest.fixture
def report() -> MemoryReport:
    outcomes = [
        Outcome("lstm", 8, 4, "solved", 1.0, elsewhere={32: 0.98}, curve=((1, 0.5), (2, 1.0))),
        Outcome("lstm", 16, 4, "not solved", 0.52, elsewhere={32: None}, curve=((1, None),)),
        Outcome("gru", 8, 4, "diverged", None, note="not finite"),
        Outcome("gru", 16, 4, "refused", None, note="does not fit"),
    ]
    return MemoryReport(Parity(), outcomes)


def test_outcomes_survive_json(report: MemoryReport) -> None:
    back = [Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) for outcome in report.outcomes]
    assert back == report.outcomes


def test_table(report: MemoryReport) -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(report.table())
    lines = captured.get().splitlines()
    assert report.title() == "Parity(): accuracy, chance 0.5, solved at least 0.99"
    assert lines[0].split() == [
        "layer",
        "length",
        "width",
        "parameters",
        "steps",
        "seconds",
        "score",
        "at",
        "32",
        "result",
    ]
    assert lines[1].split() == ["lstm", "8", "4", "0", "0", "0", "1.000", "0.980", "solved"]
    assert lines[3].split()[-1] == "diverged"
    assert report.notes() == ["gru, length 8, width 4: not finite", "gru, length 16, width 4: does not fit"]


@pytest.mark.parametrize("draw", [draw_heat_map, draw_generalisation, draw_learning])
def test_pictures(report: MemoryReport, draw: Callable, tmp_path: Path) -> None:
    draw(report, tmp_path / "a.png")
    assert imread(tmp_path / "a.png").std() > 0.02
    with pytest.raises(ConfigError, match="nothing to draw"):
        draw(MemoryReport(Parity()), tmp_path / "b.png")


def test_skill() -> None:
    assert [skill(Parity(), score) for score in (0.4, 0.5, 0.75, 1.0)] == [0, 0, 0.5, 1]
    assert [skill(Adding(), score) for score in (0.2, 1 / 6, 1 / 12, 0.0)] == pytest.approx([0, 0, 0.5, 1])


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["diagnose", "memory", *map(str, arguments)])
        return caught.value.code, *capsys.readouterr()

    return run


PLAIN = ["--probe", "parity", "--length", "6", "--steps", "3", "--set", "practice.evaluate_every=1", "--quiet"]


def test_command(call, tmp_path: Path) -> None:
    out = tmp_path / "new/folder"
    code, printed, err = call("--layer", "rnn,gru", "--width", "3,4", "--test-length", "9", *PLAIN, "--out", out)
    assert (code, err) == (0, "")
    assert printed.count("solved") == 5, "four networks and the title"
    names = {path.name for path in out.iterdir()}
    assert names == {"results.json", "heat-map.png", "learning.png", "generalisation.png"}
    code, printed, _ = call(
        "--layer", "rnn", "--width", "3", "--test-length", "9", *PLAIN, "--out", out, "--resume", "--json"
    )
    assert json.loads(printed)[0]["elsewhere"].keys() == {"9"}
    code, printed, _ = call("--layer", "gru", "--parameters", "500", *PLAIN, "--out", tmp_path / "p", "--json")
    assert json.loads(printed)[0]["width"] == width_for("gru", 500, Parity())


def test_all_means_every_layer(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        memory, "_measure", lambda test, cell, *rest: Outcome(*cell, ending="not solved", score=0.5)
    )
    _, printed, _ = call("--layer", "all", *PLAIN, "--out", tmp_path, "--json")
    assert [outcome["layer"] for outcome in json.loads(printed)] == list(recurra.LAYERS)


def test_ctrl_c_says_how_to_go_on(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "_measure", stop)
    code, _, err = call("--layer", "rnn", *PLAIN, "--out", tmp_path)
    assert code == 130
    assert "--resume" in err


MISTAKES = [
    (["--layer", "lstmm"], "did you mean 'lstm'"),
    (["--layer", "lstm,lstm"], "expected each once"),
    (["--layer", "lstm", "--probe", "adding up"], "unknown probe 'adding up'; did you mean 'adding'?"),
    (["--layer", "lstm", "--length", "few"], "--length: expected whole numbers such as 64,128, got 'few'"),
    (["--layer", "lstm", "--probe", "copy"], "needs at least 20 time steps, got 6"),
    (["--layer", "lstm", "--width", "3", "--parameters", "90"], "give one of them"),
    (["--layer", "lstm", "--set", "probe.pears=3", "--probe", "recall"], "did you mean 'pairs'?"),
    (["--layer", "lstm", "--set", "fit.steps=3"], "unknown key 'fit'"),
    (["--layer", "lstm", "--set", "probe=3"], "expected probe.KEY=VALUE"),
    (["--layer", "lstm", "--set", "practice.batch=0"], "practice.batch: expected a whole number"),
    (["--layer", "lstm", "--steps", "0"], "Invalid value for '--steps'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[m[1][:30] for m in MISTAKES])
def test_mistakes_are_one_line(call, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, out, err = call(*PLAIN, "--out", tmp_path / "o", *arguments)
    assert code == 2
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
    assert not (tmp_path / "o").exists()


def test_a_probe_by_name() -> None:
    assert probe_from("recall", {"pairs": 64}) == Recall(pairs=64)
