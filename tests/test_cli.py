"""The command line: what it prints, its exit codes, and one clear line for each mistake."""

import io
import json
import tomllib
from pathlib import Path

import pytest

import recurra
from recurra import config, recipe
from recurra.cli import main

TEXT = "Double, double toil and trouble; Fire burn and caldron bubble.\n" * 30
SMALL = ["data.batch=2", "data.window=16", "model.hidden=8", "fit.steps=6", "fit.evaluate_every=3", "fit.warmup=1"]
SETS = [part for value in SMALL for part in ("--set", value)]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return run


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "t.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def run(call, text: Path) -> Path:
    out = text.parent / "run"
    code, printed, _ = call("train", "language_model", "--data", text, "--out", out, "--quiet", *SETS)
    assert code == 0
    assert "trained to step 6; best" in printed
    return out


def test_train_evaluate_generate_predict_explain(call, run: Path, text: Path) -> None:
    code, out, _ = call("evaluate", run, "--json")
    assert code == 0
    assert json.loads(out).keys() == {"loss", "perplexity", "bits_per_character"}
    assert "bits_per_character" in call("evaluate", run, "--part", "valid")[1]
    assert json.loads(call("evaluate", run, "--data", text, "--json")[1])["loss"] > 0
    code, out, _ = call("generate", run, "--prompt", "Fire", "--length", "20", "--seed", "2")
    assert code == 0
    assert out.startswith("Fire")
    assert len(out) == 4 + 20 + 1
    code, out, _ = call("predict", run, "--json", stdin="Double trouble\n\nFire burn\n")
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer and answer["text"] for answer in answers] == ["Double trouble", None, "Fire burn"]
    code, out, _ = call("predict", run, stdin="Double trouble\n\nFire burn\n")
    assert len(out.splitlines()) == 3
    assert "LSTM(8 -> 8) on B=2, T=16: fused ran" in call("explain", run)[1]


def test_generate_carries_its_memory(call, run: Path) -> None:
    arguments = ["--seed", "4", "--temperature", "1"]
    whole = call("generate", run, "--prompt", "Fire", "--length", "40", *arguments)[1]
    memory = run.parent / "memory.safetensors"
    first = call("generate", run, "--prompt", "Fire", "--length", "25", "--memory", memory, *arguments)[1]
    second = call("generate", run, "--length", "15", "--memory", memory, *arguments)[1]
    assert first.removesuffix("\n") + second == whole


def test_resume_finishes_and_can_go_further(call, run: Path) -> None:
    code, out, _ = call("train", "language_model", "--out", run, "--resume", "--quiet")
    assert (code, "step 6" in out) == (0, True)
    code, out, _ = call("train", "language_model", "--out", run, "--resume", "--quiet", "--set", "fit.steps=9")
    assert (code, "step 9" in out) == (0, True)


MISTAKES = [
    (
        ["train", "language_modle", "--out", "{tmp}/o"],
        "unknown task 'language_modle'; did you mean 'language_model'?",
    ),
    (["train", "language_model", "--out", "{tmp}/o", "--recipe", "shakspeare"], "did you mean 'shakespeare'?"),
    (["train", "language_model", "--out", "{tmp}/o", "--recipe", "{tmp}/absent.toml"], "cannot read the recipe"),
    (["train", "language_model", "--out", "{tmp}/o", "--set", "model.hiden=3"], "did you mean 'hidden'?"),
    (["train", "language_model", "--out", "{tmp}/o", "--set", "fit.step=3"], "did you mean 'steps'?"),
    (["train", "language_model", "--out", "{tmp}/o", "--set", "model.hidden=big"], "expected int, got 'big'"),
    (
        ["train", "language_model", "--out", "{tmp}/o", "--data", "{tmp}/absent.txt"],
        "data.text: no file, folder or data set",
    ),
    (["train", "language_model", "--out", "{tmp}/o", "--data", "{tmp}/binary"], "binary file"),
    (["train", "language_model", "--out", "{tmp}/o", "--data", "{tmp}/empty"], "is empty"),
    (["train", "language_model", "--out", "{tmp}/o", "--data", "{tmp}/latin"], "is not UTF-8"),
    (["train", "language_model", "--out", "{tmp}/o", "--data", "{tmp}/short"], "too short"),
    (["train", "language_model", "--out", "{tmp}/run", "--data", "{tmp}/t.txt"], "--overwrite"),
    (["train", "language_model", "--out", "{tmp}", "--data", "{tmp}/t.txt", "--overwrite"], "not a run folder"),
    (["train", "language_model", "--out", "{tmp}/o", "--resume"], "is not a run folder"),
    (
        ["train", "language_model", "--out", "{tmp}/run", "--resume", "--set", "model.hidden=9"],
        "only fit.* can change",
    ),
    (["train", "language_model"], "Missing option '--out'"),
    (["evaluate", "{tmp}/absent"], "is not a run folder"),
    (["evaluate", "{tmp}/run", "--part", "train"], "expected part to be 'valid' or 'test', got 'train'"),
    (["evaluate", "{tmp}/run", "--data", "{tmp}/binary"], "binary file"),
    (["generate", "{tmp}/run", "--top-p", "2"], "top_p: expected 0 < top_p <= 1"),
    (["generate", "{tmp}/run", "--temperature", "hot"], "Invalid value for '--temperature'"),
    (["generate", "{tmp}/run", "--beam", "2", "--memory", "{tmp}/m"], "they do not go together"),
    (["generate", "{tmp}/run", "--seed", "99999999999999999999"], "Invalid value for '--seed'"),
    (["train", "language_model", "--out", "{tmp}/o", "--data", "{tmp}"], "is a folder without text.txt"),
    (
        [
            "train",
            "language_model",
            "--out",
            "{tmp}/o",
            "--data",
            "{tmp}/t.txt",
            "--set",
            "data.split=[1,0,0]",
            *SETS[:4],
        ],
        "validation",
    ),
    (["generate", "{tmp}/run", "--memory", "{tmp}/t.txt"], "not a whole safetensors file"),
    (["data", "get", "shakspeare"], "did you mean 'shakespeare'?"),
    (["trian"], "No such command 'trian'"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(m[0][:4]) + m[1][:20] for m in MISTAKES])
def test_mistakes_are_one_line(call, run: Path, arguments: list[str], message: str) -> None:
    tmp = run.parent
    (tmp / "binary").write_bytes(b"\x7fELF\0\0\0")
    (tmp / "empty").write_bytes(b"")
    (tmp / "latin").write_bytes("Müller".encode("latin-1"))
    (tmp / "short").write_text("to be")
    before = sorted(tmp.rglob("*"))
    code, out, err = call(*[argument.format(tmp=tmp) for argument in arguments])
    assert code == 2
    assert message in err
    assert err.count("\n") == 1, err
    assert "Traceback" not in out + err
    assert sorted(tmp.rglob("*")) == before, "a mistake must leave nothing behind"


def test_help_and_version(call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    for command in ("train", "evaluate", "predict", "generate", "explain", "data", "doctor", "demo"):
        assert command in out
    assert call("--version")[1].strip() == recurra.__version__


def test_data_list_and_doctor(call) -> None:
    assert "shakespeare" in call("data", "list")[1]
    assert {"name", "licence"} <= json.loads(call("data", "list", "--json")[1])[0].keys()
    code, out, _ = call("doctor")
    assert code == 0
    assert "torch" in out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "[]", "expected a JSON object, got list"),
        ("vocabulary.json", '{"kind": "characters"}', "the vocabulary of kind characters is broken"),
        ("vocabulary.json", '{"kind": "runes"}', "unknown kind 'runes'"),
        ("model.safetensors", None, "training stopped before its first validation"),
        ("config.json", None, "is not a run folder"),
    ],
)
def test_broken_run_folders(call, run: Path, name: str, content: str | None, message: str) -> None:
    (run / name).unlink()
    if content is not None:
        (run / name).write_text(content)
    code, out, err = call("generate", run, "--length", "3")
    assert (code, err.count("\n"), out) == (2, 1, "")
    assert message in err


RECIPES = sorted(recipe.PLACES[0].rglob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_complete_and_commented(path: Path) -> None:
    task = path.parent.name
    plan = recipe.read(task, path)
    text = path.read_text(encoding="utf-8")
    assert f"--recipe {path.stem}" in text or f"recurra {path.stem}" in text, "the recipe says how to run it"
    for written in (config.to_toml(plan.fit, "fit"), config.to_toml(plan.config)):
        assert written.strip() in text, "every key with its comment"
    assert tomllib.loads(text)["task"] == task


def test_recipes_ship() -> None:
    assert {"shakespeare", "tang", "tinyshakespeare", "demo"} <= {path.stem for path in RECIPES}


def test_profile_says_where_the_time_went(call, text: Path) -> None:
    arguments = ["train", "language_model", "--data", text, "--out", text.parent / "r", *SETS, "--quiet"]
    code, _, err = call(*arguments, "--profile")
    assert code == 0
    assert "s waiting for batches (" in err
    code, _, err = call(*arguments, "--overwrite")
    assert (code, err) == (0, "")


def test_a_task_without_pictures_says_so(call, run: Path, tmp_path: Path) -> None:
    for command, stdin in (("evaluate", ""), ("predict", "Double\n")):
        code, _, err = call(command, run, "--pictures", tmp_path / "pictures", stdin=stdin)
        assert (code, err.count("\n")) == (2, 1)
        assert "language_model has no pictures" in err


@pytest.mark.filterwarnings("default::recurra.errors.DataWarning")
def test_warnings_are_one_line(call, tmp_path: Path) -> None:
    sentences = "Ann\tB-PER\nsaw\tO\nBen\tI-PER\n\n" * 6
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.conll").write_text(sentences)
    small = ["fit.steps=2", "fit.evaluate_every=2", "fit.warmup=1", "model.hidden=4", "data.batch=4"]
    sets = [part for value in small for part in ("--set", value)]
    code, _, err = call("train", "tag", "--data", tmp_path, "--out", tmp_path / "run", "--quiet", *sets)
    assert code == 0
    assert [line.split(": ")[:2] for line in err.splitlines()] == [["recurra", "warning"]] * 3
    assert f"{tmp_path / 'train.conll'}, line 3: I-PER after O is not BIO; it and 5 others are read as" in err
