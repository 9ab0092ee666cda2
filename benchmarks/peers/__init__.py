"""Other libraries that compute the same. Those of the ``bench`` extra may be missing: then the page says so."""

import importlib
import importlib.util
import os
from types import ModuleType

import torch

__all__ = ["PEERS", "peer"]

# The packages of the extra, and the module here that needs each.
PEERS = {
    "onnxruntime": "onnx_graph",
    "jax": "jax_scan",
    "torchrecurrent": "torchrecurrent_cells",
    "minGRU-pytorch": "mingru",
    "pytorch-crf": "pytorch_crf",
    "kaldi-native-fbank": "kaldi_features",
}
NEEDS = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "minGRU-pytorch": ("minGRU_pytorch",),
    "pytorch-crf": ("torchcrf",),
    "kaldi-native-fbank": ("kaldi_native_fbank",),
}


def peer(package: str, module: str = "") -> ModuleType | None:
    """The module that speaks to a package, or another one of its, or None where it is not installed."""
    if any(importlib.util.find_spec(name) is None for name in NEEDS.get(package, (package,))):
        return None
    if package == "jax":  # it counts the cores for itself, and should take as many threads as torch
        os.environ.setdefault("NPROC", str(torch.get_num_threads()))
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    return importlib.import_module(f"benchmarks.peers.{module or PEERS[package]}")
