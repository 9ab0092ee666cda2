"""The benchmarks: turns are fair, sides must agree, losses are shown. Run with ``python -m pytest``."""

import importlib.util
from pathlib import Path

import pytest
import torch
from benchmarks import __main__ as program
from benchmarks import chart, page, results
from benchmarks.agreement import Disagreement, agree
from benchmarks.children import peak
from benchmarks.neighbours import Neighbours
from benchmarks.peers import NEEDS, PEERS, peer
from benchmarks.race import check as check_sides
from benchmarks.race import race
from benchmarks.results import Row, Section, Table, Value, geometric_mean, least, most
from benchmarks.sections import (
    SECTIONS,
    compiling,
    convolutional,
    custom,
    features,
    forecasting,
    inference,
    memory,
    scans,
    streaming,
    tagging,
    training,
    transducer,
    watching,
    zoo,
)
from benchmarks.steps import Inference
from benchmarks.timing import QUICK, Effort, Times, compare, spread

from recurra import use_backend

SILENT = lambda text: None
INSTALLED = [name for name in PEERS if all(importlib.util.find_spec(part) for part in NEEDS.get(name, (name,)))]


def ratio(median: float, target: results.Target | None = None) -> Value:
    return Value(median, 0.9 * median, 1.1 * median, "x", target)


def fixed() -> Section:
    """Two kinds, one of which loses, and a row that was not timed."""
    time = Value(1.25, 1.0, 2.0, "ms")
    rows = [
        Row("GRU", "T9 B1 H4", {"recurra ms": time, "torch.nn / recurra": ratio(8.0, least(2))}, "gated", 1e-7),
        Row("LSTM", "T9 B1 H4", {"recurra ms": time, "torch.nn / recurra": ratio(0.5, least(2))}, "gated", 2e-7),
        Row("RNN", "T9 B1 H4", group="plain", note="not timed: y differs"),
    ]
    tables = [Table("One row", rows, {"gated": {"torch.nn / recurra": least(3)}})]
    return Section("training", "Training", "How it was done.", tables, {"torch": "2", "jax": "not installed"}, 1.5)


# Timing.


def test_sides_take_turns_and_begin_in_turn() -> None:
    called: list[str] = []
    sides = {name: lambda name=name: called.append(name) for name in "ab"}
    effort = Effort(rounds=3, least=0.0, rest=0.0)
    times = compare(sides, effort, lambda name: called.append(name.upper()))
    first, *rounds = [called[i : i + 6] for i in range(0, len(called), 6)]
    assert "".join(first) == "AaaBbb"  # one call that may compile, one to see how long it takes
    assert ["".join(turn) for turn in rounds] == ["AaaBbb", "BbbAaa", "AaaBbb"]  # one to warm up, one that counts
    assert {name: len(seconds) for name, seconds in times.seconds.items()} == {"a": 3, "b": 3}


def test_short_calls_are_repeated_and_a_budget_ends_long_ones() -> None:
    calls = []
    compare({"a": lambda: calls.append(1)}, Effort(rounds=2, least=0.001, rest=0.0))
    assert len(calls) > 20
    times = compare({"a": lambda: None}, Effort(rounds=9, fewest=4, budget=0.0, least=0.0, rest=0.0))
    assert len(times.seconds["a"]) == 4


def test_ratios_are_taken_within_a_round() -> None:
    times = Times(
        {"ours": [1.0, 2.0, 4.0], "theirs": [3.0, 6.0, 12.0]}
    )  # the machine grows slower, the ratio stays
    assert times.ratio("theirs", "ours") == Value(3, 3, 3, "x")
    assert times.time("ours").median == 2000
    assert times.time("ours", "us").unit == "us"


def test_spread_is_median_and_quartiles() -> None:
    assert spread([5.0, 1.0, 2.0, 3.0, 4.0], "x") == Value(3, 2, 4, "x")
    assert spread([7.0], "ms", most(5)).met is False


# The gate.


def test_gate_measures_by_the_largest_number() -> None:
    small = torch.tensor([1e-6, 2e-6])
    assert agree({"b": small}, {"b": small}) == 0
    assert agree({"b": small}, {"b": small * (1 + 1e-5)}) == pytest.approx(1e-5, rel=0.01)
    with pytest.raises(Disagreement, match="b differs"):
        agree({"b": small}, {"b": small * 1.001})


@pytest.mark.parametrize("wrong", [torch.full((2,), torch.nan), torch.zeros(3)])
def test_gate_refuses_what_cannot_be_compared(wrong: torch.Tensor) -> None:
    with pytest.raises(Disagreement):
        agree({"y": torch.ones(2)}, {"y": wrong})
    with pytest.raises(Disagreement, match="different tensors"):
        agree({"y": wrong}, {"y": wrong, "b": wrong})


def test_sides_that_disagree_are_not_timed() -> None:
    def never(times: Times) -> dict[str, Value]:
        raise AssertionError("timed")

    sides = {"ours": Inference(lambda: torch.ones(1, 2, 3)), "theirs": Inference(lambda: torch.zeros(1, 2, 3))}
    row = race(("X", "T2 B1 H3", ""), sides, never, QUICK)
    assert row.values == {}
    assert row.note == "not timed: ours and theirs: y differs by 1.0e+00 of its largest number"


# Results, page and picture.


def test_geometric_mean_and_targets() -> None:
    assert geometric_mean([0.5, 2.0, 27.0]) == pytest.approx(3)
    assert (str(least(25)), str(most(0.75))) == ("≥ 25", "≤ 0.75")
    assert ratio(2, least(2)).met
    assert not ratio(2.1, most(2)).met
    assert ratio(0.1).met


def test_json_brings_a_section_back(tmp_path: Path) -> None:
    results.write(fixed(), tmp_path / "training.json")
    assert results.read(tmp_path / "training.json") == fixed()


def test_table_shows_losses_means_and_notes() -> None:
    assert page.table_lines(fixed().tables[0]) == [
        "|  | shape | recurra ms | torch.nn / recurra |",
        "|---|---|---:|---:|",
        "| GRU | T9 B1 H4 | 1.25 | 8.00 (7.20 to 8.80) ≥ 2 |",
        "| LSTM | T9 B1 H4 | 1.25 | **0.50 (0.45 to 0.55)** ≥ 2 |",
        "| RNN | T9 B1 H4 |  |  |",
        "| geometric mean, gated |  |  | **2.00** ≥ 3 |",
        "",
        "- RNN T9 B1 H4: not timed: y differs",
    ]


def test_page_sums_up_and_says_what_is_missing() -> None:
    text = page.render([fixed()], "ratios.png")
    assert "| Training · One row · torch.nn / recurra, gated | ≥ 2 | **1 of 2** | 0.50 | 2.00 |" in text
    assert "geometric mean of gated | ≥ 3 | **0 of 1** | 2.00 | 2.00 |" in text
    assert "jax was not installed, and so is not compared, in: Training." in text
    alone = Section(
        "live", "Live", "Times.", [Table("", [Row("GRU", "", {"ms": Value(1, 1, 1, "ms")})])], fixed().machine
    )
    assert "Live" not in page.render([fixed(), alone], "").split("## Targets")[0]
    assert "![Ratios" in text
    assert "| torch | 2 |" in text
    assert "(ratios.png)" in text
    assert "![" not in page.render([fixed()], "")


def test_picture_has_a_logarithmic_axis_and_a_legend_outside(tmp_path: Path) -> None:
    drawn = chart.figure([fixed()])
    assert drawn is not None
    (axis,) = drawn.axes
    assert (axis.get_xscale(), axis.get_title("left")) == ("log", "Training")
    assert [label.get_text() for label in axis.get_yticklabels()] == ["T9 B1 H4"]
    assert axis.get_legend() is None
    assert [entry.get_text() for entry in drawn.legends[0].get_texts()] == ["GRU", "LSTM", "torch.nn"]
    assert chart.draw([fixed()], tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")
    assert not chart.draw([], tmp_path / "none.png")


# Real rows, tiny.


def check(section: Section, rows: int) -> None:
    """Every row was timed, behind a gate that found some error but not much."""
    found = [row for table in section.tables for row in table.rows]
    assert len(found) == rows
    assert not [row for row in found if row.note.startswith("not timed")]
    assert all(0 < value.low <= value.median <= value.high for row in found for value in row.values.values())
    assert all(row.error is None or row.error < 2e-5 for row in found)


def test_a_row_of_training() -> None:
    row = training._row("GRU", (7, 2, 5), [], QUICK, SILENT)
    assert set(row.values) == {"recurra ms", "torch.nn ms", "torch.nn / recurra"}
    assert (row.name, row.shape, row.group) == ("GRU", "T7 B2 H5", "GRU and RNN")
    assert row.error is not None
    assert row.error < 2e-5


def test_a_row_of_every_custom_cell() -> None:
    for cell in custom.CUSTOM:
        row = custom._row(cell, (7, 2, 5), QUICK, SILENT)
        assert row.values, row.note


def test_a_row_of_streaming() -> None:
    row = streaming._row("LSTM", 5, QUICK, SILENT)
    assert set(streaming.WAYS) <= {column.removesuffix(" us") for column in row.values}


@pytest.mark.skipif(
    {"jax", "minGRU-pytorch", "torchrecurrent"} - set(INSTALLED) != set(), reason="the bench extra is not installed"
)
def test_rows_of_scans() -> None:
    for kind in scans.KINDS:
        row = scans._operation(kind, (9, 2, 5), QUICK, SILENT)
        assert {"JAX / recurra", "torch.associative_scan / recurra", "loop / recurra"} <= set(row.values), row.note
    row = scans._layer((9, 2, 5), QUICK, SILENT)
    assert {"GRU / MinGRU", "torch.nn.GRU / MinGRU", "minGRU-pytorch / MinGRU"} <= set(row.values), row.note


@pytest.mark.skipif("kaldi-native-fbank" not in INSTALLED, reason="the bench extra is not installed")
def test_rows_of_features() -> None:
    found = features.run(QUICK, SILENT)
    check(found, 8)
    assert all("kaldi-native-fbank / recurra" in row.values for table in found.tables for row in table.rows)


@pytest.mark.parametrize("trains", [True, False], ids=["training", "decoding"])
def test_rows_of_tagging(trains: bool) -> None:
    row = tagging._field((6, 3, 5), trains, QUICK, SILENT)
    assert "plain / recurra" in row.values, row.note
    for kind in tagging.NETWORKS:
        row = tagging._network(kind, trains, QUICK, SILENT)
        assert {"plain, padded / recurra", "plain, packed / recurra"} <= set(row.values), row.note


def test_rows_of_forecasting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(forecasting.PYTHON, raising=False)
    found = forecasting.run(QUICK, SILENT)
    check(found, 1)
    assert found.about.endswith(forecasting.ABSENT)
    work = forecasting._small(forecasting.WORKS[0])
    series = forecasting.waves(work.series, work.steps + work.horizon, 0)
    theirs = forecasting.Found(1e9, 1e9, 0.1)
    monkeypatch.setattr(forecasting, "_child", lambda *_: theirs)
    training, prediction = forecasting._rows(work, "python", 2)
    assert training.name == "NeuralForecast DeepAR"
    assert set(prediction.values) == {"recurra s", "theirs s", "theirs / recurra"}
    assert set(training.values) - set(prediction.values) == {"alike s", "theirs / alike"}
    assert "theirs 0.100" in training.note
    for each in (1, forecasting.CHAINED):
        assert forecasting.train(work, series, each).error < 2


def test_rows_of_layers_over_maps() -> None:
    row = convolutional._row((3, 2, 5, 3, 4), QUICK, SILENT)
    assert "loop / recurra" in row.values, row.note
    row = convolutional._kind("conv_gru", (3, 2, 5, 3, 4), QUICK, SILENT)
    assert "definition / recurra" in row.values
    assert not row.note


def test_rows_of_watching() -> None:
    found = watching.run(QUICK, SILENT)
    check(found, 2)
    assert all({"a frame ms", "with decoding ms"} == set(row.values) for row in found.tables[0].rows)


def test_rows_of_the_transducer() -> None:
    for kind in ("new", "trained"):
        row = transducer._time(kind, (2, 9, 4, 7, 5), QUICK, SILENT)
        assert {"plain / recurra", "plain / blocks"} <= set(row.values), row.note


@pytest.mark.parametrize("package", PEERS)
def test_missing_library_is_no_error(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert peer(package) is None
    sides = inference._sides("LSTM", (7, 2, 5))
    assert set(sides) == {"recurra", "torch.nn"}
    assert "not installed" in zoo.run(QUICK, SILENT).about


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_other_libraries_agree(kind: str) -> None:
    if {"onnxruntime", "jax"} - set(INSTALLED):
        pytest.skip("the bench extra is not installed")
    row = inference._row(kind, (7, 2, 5), QUICK, SILENT)
    assert {"ONNX Runtime / recurra", "JAX / recurra"} <= set(row.values), row.note
    row = training._row(kind, (7, 2, 5), [(7, 2, 5)], QUICK, SILENT)
    assert "JAX / recurra" in row.values, row.note


@pytest.mark.skipif("torchrecurrent" not in INSTALLED, reason="the bench extra is not installed")
def test_every_cell_of_the_zoo_agrees_with_torchrecurrent() -> None:
    theirs = peer("torchrecurrent")
    assert theirs is not None
    for name in [*theirs.LAYOUTS, *theirs.OTHERS]:
        sides, pairs, oracles = zoo._sides(name, (7, 2, 5), theirs)
        with use_backend("reference"):  # the kernels have tests of their own, and take long to compile
            error, _ = check_sides(sides, pairs, oracles)
        assert error < 2e-5


@pytest.mark.skipif(not peak.readable(), reason="the system does not tell")
def test_a_process_tells_its_peak() -> None:
    assert memory._peak("recurra", "RNN", (200, 8, 64)) > 200 * 8 * 64 * 4 / 1e6  # y at least


def test_a_process_tells_how_long_its_kernel_took(tmp_path: Path) -> None:
    found = compiling._measure("RNN", str(tmp_path))
    assert {"trace", "cell", "products"} < set(found)
    assert found["call"] > found["trace"] + found["cell"] + found["products"]
    assert min(found.values()) > 0


def test_lines_of_code_leave_documentation_out() -> None:
    source = '"""What."""\n\n# why\nx = "kept"\n\n\ndef f():\n    """More\n    of it."""\n    return x\n'
    assert zoo.lines_of_code(source) == 3


def test_no_neighbour_is_left_behind() -> None:
    with Neighbours() as neighbours:
        neighbours.work(True)
        assert all(process.poll() is None for process in neighbours.processes)
        assert len(neighbours.processes) == len(neighbours.cores)
    assert all(process.poll() is not None for process in neighbours.processes)


def test_program_measures_some_sections_and_keeps_the_others(tmp_path: Path) -> None:
    results.write(fixed(), tmp_path / "training.json")
    assert program.main(["ragged", "--quick", "--folder", str(tmp_path)]) == 0
    check(results.read(tmp_path / "ragged.json"), 3)
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "## Training" in text
    assert "## Ragged batches" in text
    assert results.read(tmp_path / "training.json") == fixed()
    assert list(SECTIONS).index("training") < list(SECTIONS).index("ragged")


def test_program_draws_the_page_again_without_measuring(tmp_path: Path) -> None:
    results.write(fixed(), tmp_path / "training.json")
    assert program.main(["--render", "--folder", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"training.json", "README.md", "ratios.png"}


def test_program_knows_its_sections(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        program.main(["trainign"])
    assert error.value.code == 2
    assert "got trainign" in capsys.readouterr().err
