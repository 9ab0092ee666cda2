"""Files are whole or absent, and nothing is unpickled."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from recurra import files
from recurra.errors import RunError


@pytest.mark.parametrize(
    ("error", "told", "match"),
    [(OSError(28, "No space left on device"), RunError, "No space left"), (KeyError("bug"), KeyError, "bug")],
)
def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, error: Exception, told: type[Exception], match: str
) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise error

    with pytest.raises(told, match=match):
        files.write(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"):
        files.write_text(tmp_path / "absent" / "a.txt", "x")


def test_tensors_there_and_back(tmp_path: Path) -> None:
    shared = torch.arange(6.0).view(2, 3)
    tensors = {
        "a": shared.t(),
        "b": shared,
        "c": torch.tensor([3, 4]),
        "d": torch.tensor(1.5, dtype=torch.bfloat16),
    }
    files.write_tensors(tmp_path / "t.safetensors", tensors)
    found = files.read_tensors(tmp_path / "t.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("cut", [0, 4, 8, 60, -1])
def test_truncated_tensors(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.safetensors"
    files.write_tensors(path, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(RunError, match="not a whole safetensors file"):
        files.read_tensors(path)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb()) * 10)
    with pytest.raises(RunError, match="not a whole safetensors file"):
        files.read_tensors(path)
    assert not (tmp_path / "exploded").exists()


def test_json_mistakes(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RunError, match="not JSON"):
        files.read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match=r"is .* a run folder"):
        files.read_json(tmp_path / "b.json")
