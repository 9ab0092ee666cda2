"""recurra diagnose gradients: of a tiny run and of untrained layers, and one clear line for each mistake."""

import json
from pathlib import Path

import pytest

from recurra.cli import main
from recurra.run.fit import Fit
from recurra.tasks.language_model import LanguageData, LanguageModel, LanguageModelConfig, LanguageNet


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["diagnose", "gradients", *map(str, arguments)])
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "t.txt").write_text("Double, double toil and trouble; Fire burn and caldron bubble.\n" * 30, "utf-8")
    data = LanguageData(text=str(folder / "t.txt"), batch=2, window=24)
    task = LanguageModel(LanguageModelConfig(data, LanguageNet(layer="gru", hidden=8, depth=2)))
    task.fit(folder / "run", Fit(steps=4, evaluate_every=2, warmup=1), quiet=True)
    return folder / "run"


def test_a_trained_run(call, run: Path) -> None:
    picture = run.parent / "gradients.png"
    code, out, _ = call(run, "--out", picture)
    assert code == 0
    assert [name in out for name in ("layers.layers.1", "layers.layers.3", "layers.layers.5")] == [
        True,
        True,
        False,
    ]
    assert "layers.layers.1 GRU: gradients" in out
    assert picture.read_bytes()[:4] == b"\x89PNG"
    code, out, _ = call(run, "--part", "train", "--json")
    values = json.loads(out)["networks"][""]
    assert code == 0
    assert values["loss"] == "the loss of the first train batch"
    assert [len(layer["gradient_norm"]) for layer in values["layers"]] == [24, 24]
    assert values["parameter_gradient_norm"] > 0


def test_untrained_layers_side_by_side(call, tmp_path: Path) -> None:
    arguments = ["--layer", "rnn,lstm", "--hidden", 6, "--steps", 30]
    code, out, _ = call(*arguments, "--json", "--out", tmp_path / "a.png")
    found = json.loads(out)
    assert code == 0
    assert list(found["networks"]) == ["rnn", "lstm"]
    assert found["networks"]["lstm"]["layers"][0]["units"] == 12
    assert {finding["layer"] for finding in found["findings"]} == {"rnn", "lstm"}
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert call(*arguments, "--json")[1] == out
    assert call(*arguments, "--json", "--seed", 1)[1] != out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected a run folder, or untrained layers by --layer"),
        (["RUN", "--layer", "rnn"], "expected a run folder, or untrained layers by --layer"),
        (["RUN", "--steps", "4"], "--hidden and --steps are for untrained layers"),
        (["RUN", "--part", "tests"], "expected one of train, valid, test, got 'tests'"),
        (["--layer", "rnn", "--part", "valid"], "--part is for a run"),
        (["--layer", "lstn"], "unknown layer 'lstn'"),
        (["--layer", ","], "networks by name"),
        (["--layer", "rnn", "--hidden", "0"], "greater than or equal to 1"),
        (["--layer", "rnn", "--out", "a.jpg"], "ends in .png"),
        (["nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_one_line(call, run: Path, arguments: list[str], says: str) -> None:
    code, out, err = call(*[run if argument == "RUN" else argument for argument in arguments])
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_picture_is_not_replaced_unasked(call, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_text("mine")
    arguments = ["--layer", "rnn", "--hidden", 3, "--steps", 5, "--out", picture]
    code, _, err = call(*arguments)
    assert (code, "--overwrite" in err, picture.read_text()) == (2, True, "mine")
    assert call(*arguments, "--overwrite")[0] == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
