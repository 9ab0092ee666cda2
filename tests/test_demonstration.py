"""The demonstration, a few seconds long, on a text of our own under the name of the plays."""

from pathlib import Path

import pytest

from recurra import cli
from recurra.data import sources


def test_demo_trains_writes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "ROMEO:\nBut soft, what light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n\n"
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "text.txt").write_text(text * 200)
    monkeypatch.setattr(sources, "get", lambda name: tmp_path / "plays")
    out = tmp_path / "demo"
    for _ in range(2):  # the second replaces the first
        with pytest.raises(SystemExit) as caught:
            cli.main(["demo", "--out", str(out), "--minutes", "0.03"])
        assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "ROMEO:" in printed
    assert printed.count("bits_per_character") == 2
    assert len(printed.rstrip().rpartition("Try next:")[2].strip().splitlines()) == 3
    for name in ("curves.png", "hidden_states.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
