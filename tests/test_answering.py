"""The command predict: waiting lines are answered together, in order; a bad line hides nothing before it."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from recurra import answering
from recurra.cli import main
from recurra.errors import DataError


class Lengths:
    """Answers with the length of a line; cannot answer what holds an x."""

    title = ""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def heading(self) -> str:
        return self.title

    def shown(self, answer: Any) -> Any:
        return answer

    def questions(self, source: str) -> list[str]:
        return Path(source).read_text("utf-8").split()

    def predict(self, raw: str) -> dict[str, Any]:
        return self.predict_many([raw])[0]

    def predict_many(self, raws: list[str]) -> list[dict[str, Any]]:
        self.asked.append(raws)
        if any("x" in raw for raw in raws):
            raise DataError("no x is allowed")
        return [{"text": raw, "length": len(raw), "shown": "*" * len(raw)} for raw in raws]

    def draw_answer(self, raw: str, folder: Path, name: str) -> list[Path]:
        (folder / name).write_text(raw, encoding="utf-8")
        return [folder / name]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def run(stdin: bytes, *options: str) -> tuple[int, list[str], str, Lengths]:
        task = Lengths()
        monkeypatch.setattr(answering, "load", lambda _: task)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as caught:
            main(["predict", "run", *options])
        out, err = capsys.readouterr()
        return caught.value.code, out.split("\n")[:-1], err, task

    return run


def test_lines_are_answered_together_and_in_place(call) -> None:
    code, out, _, task = call("a\n\nbcd\r\n  \n🙂é\nend".encode())
    assert (code, out) == (0, ["*", "", "***", "", "**", "***"])
    assert task.asked == [["a", "bcd", "🙂é"], ["end"]]
    code, out, _, _ = call("\ufeffa\n\n".encode(), "--json")
    assert [json.loads(line) for line in out] == [{"text": "a", "length": 1}, None]


def test_a_bad_line_is_named_and_the_answers_before_it_are_given(call) -> None:
    code, out, err, _ = call(b"a\n\nbb\nxx\nc\n")
    assert (code, out) == (2, ["*", "", "**"])
    assert err == "recurra: line 4 of the input: no x is allowed\n"
    code, out, err, _ = call(b"a\nb\xff\n")
    assert (code, out, err.startswith("recurra: line 2 of the input is not UTF-8: byte 0xff")) == (2, [], True)


def test_pictures_are_named_by_line(call, tmp_path: Path) -> None:
    code, _, err, _ = call(b"a\n\nb\n", "--pictures", str(tmp_path / "new" / "deep"))
    names = sorted(path.name for path in (tmp_path / "new" / "deep").iterdir())
    assert (code, names) == (0, ["00001", "00003"])
    assert err.count("\n") == 2
    (tmp_path / "file").write_text("")
    code, out, err, _ = call(b"a\n", "--pictures", str(tmp_path / "file"))
    assert (code, out, err.count("\n")) == (2, [], 1)
    assert "cannot make the folder" in err


def test_nobody_waits_for_a_full_batch() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb", buffering=0) as sink:
        lines = answering.waiting(source)
        sink.write(b"one\ntw")
        assert next(lines) == ["one"]
        sink.write(b"o\nthree\n")
        assert next(lines) == ["two", "three"]
    many = io.BufferedReader(io.BytesIO(b"a\n" * 2500))
    assert [len(found) for found in answering.waiting(many)] == [1000, 1000, 500]


def test_a_file_is_answered_as_lines_are(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "questions").write_text("ab c", encoding="utf-8")
    monkeypatch.setattr(Lengths, "title", "stars")
    code, out, _, task = call(b"", "--data", str(tmp_path / "questions"))
    assert (code, out, task.asked) == (0, ["stars", "**", "*"], [["ab", "c"]])
    code, out, _, _ = call(b"", "--data", str(tmp_path / "questions"), "--json")
    assert out == ['{"text": "ab", "length": 2}', '{"text": "c", "length": 1}']
