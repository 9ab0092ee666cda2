"""Files that are never half-written: a temporary name, fsync, then a rename."""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recurra.errors import RunError

__all__ = ["read_json", "read_table", "read_tensors", "write", "write_json", "write_tensors", "write_text"]


def write(path: Path, fill: Callable[[Path], None]) -> None:
    """Let ``fill(temporary)`` make a file beside ``path``, then put it in place at once.

    Raises RunError if the disk is full or the folder cannot be written; what stood at ``path`` is then untouched.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        fill(temporary)
        temporary.chmod(0o666 & ~_umask())
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(
            f"cannot write {path}: {reason}; free some space or choose a folder that can be written. "
            "What was saved before is untouched"
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)  # it is there only if something failed


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    write(path, lambda temporary: _fill_text(temporary, text))


def _fill_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a safetensors file. Tensors that share memory are written once each."""
    unshared = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write(path, lambda temporary: save_file(unshared, temporary))


def read_json(path: Path) -> Any:
    """Read JSON. Raises RunError if the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}; is {path.parent} a run folder?") from error
    except ValueError as error:
        raise RunError(f"cannot read {path}: not JSON ({error})") from error


def read_table(path: Path) -> dict[str, Any]:
    """Read JSON that is a table of names and values. Raises RunError if it is not."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise RunError(f"cannot use {path}: expected a JSON object, got {type(values).__name__}")
    return values


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file. Raises RunError if it is missing, truncated or something else."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
    except FileNotFoundError as error:
        raise RunError(f"cannot read {path}: no such file") from error
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot read {path}: not a whole safetensors file ({error})") from error
