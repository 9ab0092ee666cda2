"""Labelled sequences of numbers: .ts files and folders of CSV files give the same; mistakes have a line."""

from pathlib import Path

import pytest
import torch

from recurra.data.series import Scale, parse_series, read_series, read_series_parts
from recurra.errors import DataError

HEAD = "# a comment\n@problemName x\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"
ROWS = [("1,2,3:4,5,6", "a"), ("1.5:-2e1", "b"), ("7,8:9,10", "a")]


def ts(path: Path, rows: str, head: str = HEAD) -> Path:
    path.write_text(head + rows, encoding="utf-8")
    return path


def test_both_formats_give_the_same(tmp_path: Path) -> None:
    found, note = read_series(ts(tmp_path / "x.ts", "".join(f"{x}:{label}\n" for x, label in ROWS)))
    assert note.endswith("x.ts: 3 sequences of 1 to 3 frames with 2 channels")
    assert torch.equal(found[0].x, torch.tensor([[1.0, 4], [2, 5], [3, 6]]))
    assert [series.label for series in found] == ["a", "b", "a"]
    assert found[1].where.endswith("x.ts, line 8")
    for number, series in enumerate(found):
        folder = tmp_path / "csv" / series.label
        folder.mkdir(parents=True, exist_ok=True)
        lines = [",".join(map(str, frame)) for frame in series.x.tolist()]
        (folder / f"{number}.csv").write_text("\n".join((["left,right"] if number else []) + lines) + "\n")
    others, _ = read_series(tmp_path / "csv")
    for series, other in zip(sorted(found, key=lambda s: s.label), others, strict=True):
        assert torch.equal(series.x, other.x)
        assert series.label == other.label


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,2:3,4:a\n1,2:a\n", "line 8: expected 2 channels as in .*line 7, got 1"),
        ("1,2:3:a\n", "line 7: expected channels of one length, got 1 to 2 values"),
        ("1,?:a\n", r"line 7: expected numbers between commas, got '1,\?'; a missing value"),
        ("1,nan:a\n", "line 7: expected finite numbers"),
        ("1,2\n", "line 7: expected channels and a label between colons"),
        ("", "no sequences after @data"),
    ],
)
def test_mistakes_in_a_ts_file(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_series(ts(tmp_path / "x.ts", rows))


def test_more_mistakes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3: time stamps cannot be read"):
        read_series(ts(tmp_path / "x.ts", "1:a", HEAD.replace("Stamps false", "Stamps true")))
    with pytest.raises(DataError, match="line 5: expected @classLabel true"):
        read_series(ts(tmp_path / "x.ts", "1:a", HEAD.replace("true a b", "false")))
    with pytest.raises(DataError, match="line 1: expected a line with @ before @data, got '1,2:a'"):
        read_series(ts(tmp_path / "x.ts", "", "1,2:a\n"))
    with pytest.raises(DataError, match="or a folder for each label with a CSV file"):
        read_series(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.csv").write_text("x,y\n1,2\n3\n")
    with pytest.raises(DataError, match=r"1\.csv, line 3: expected 2 columns as above, got 1"):
        read_series(tmp_path)
    (tmp_path / "a" / "1.csv").write_text("x,y\n")
    with pytest.raises(DataError, match="a header and no frames"):
        read_series(tmp_path)
    (tmp_path / "a" / "1.csv").write_text("1\n")
    (tmp_path / "x.ts").unlink()
    with pytest.raises(DataError, match="every sequence has the same label"):
        read_series_parts(tmp_path, "", "", (0.8, 0.1, 0.1), 0)


def test_parts_of_a_folder(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i + 1}:{'ab'[i % 2]}\n" for i in range(20))
    ts(tmp_path / "Moves_TRAIN.ts", rows)
    ts(tmp_path / "Moves_TEST.ts", "5,5:a\n")
    parts = read_series_parts(tmp_path, "", "", (0.8, 0.1, 0.1), 0)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [18, 2, 1]
    assert parts.notes[-1].startswith("valid cut from the training rows")
    for part, count in (("train", 3), ("test", 1)):
        for label in "ab":
            (tmp_path / "moves" / part / label).mkdir(parents=True)
            for i in range(count):
                (tmp_path / "moves" / part / label / f"{i}.csv").write_text(f"{i}\n{ord(label)}\n")
    parts = read_series_parts(tmp_path / "moves", "", "", (0.6, 0.2, 0.2), 0)
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [5, 1, 2]


def test_scale_and_lines() -> None:
    x = torch.randn(3, 50, 2) * torch.tensor([3.0, 0.0]) + torch.tensor([1.0, 5.0])
    scale = Scale.of(x)
    scaled = torch.cat([scale(one) for one in x])
    assert torch.allclose(scaled.mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(scaled.std(0, correction=0), torch.tensor([1.0, 0.0]), atol=1e-5)
    assert parse_series("1,2").shape == (2, 1)
    with pytest.raises(DataError, match="predict: expected numbers"):
        parse_series("one", "predict")
