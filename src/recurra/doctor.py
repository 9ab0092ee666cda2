"""What this machine offers to recurra."""

import os
import platform
import shutil
from dataclasses import dataclass
from importlib.util import find_spec

import torch

from recurra import __version__
from recurra.data import sources

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what it is, what was found, and what to do if it is not fine."""

    what: str
    found: str
    fine: bool = True
    advice: str = ""


def examine() -> list[Finding]:
    """Look at versions, processor, accelerator, compiler, optional libraries and folders."""
    return [
        Finding("recurra", f"{__version__} on Python {platform.python_version()}, {platform.system()}"),
        Finding("torch", torch.__version__),
        _processor(),
        _bfloat16(),
        _accelerator(),
        _compiler(),
        _tokenizers(),
        _cache(),
    ]


def _processor() -> Finding:
    capability = torch.backends.cpu.get_cpu_capability()
    return Finding("processor", f"{platform.machine()} {capability}, {torch.get_num_threads()} threads for torch")


def _bfloat16() -> Finding:
    if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported():
        return Finding("bfloat16", "in hardware: fit.precision=bfloat16 trains large networks faster")
    return Finding("bfloat16", "not in this processor", False, "leave fit.precision at float32")


def _accelerator() -> Finding:
    if torch.cuda.is_available():
        return Finding("accelerator", torch.cuda.get_device_name())
    return Finding("accelerator", "none; everything runs on the processor")


def _compiler() -> Finding:
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    found = next((path for path in map(shutil.which, filter(None, names)) if path), None)
    if found:
        return Finding("C++ compiler", found)
    return Finding("C++ compiler", "none", False, "install g++ or clang++ for fused kernels of your own cells")


def _tokenizers() -> Finding:
    if find_spec("tokenizers"):
        return Finding("byte pairs", "tokenizers is installed")
    return Finding("byte pairs", "not installed", False, "pip install 'recurra[text]'")


def _cache() -> Finding:
    folder = sources.root()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(parent, os.W_OK):
        return Finding("data folder", str(folder))
    return Finding("data folder", f"{folder} cannot be written", False, "set RECURRA_DATA to another folder")
