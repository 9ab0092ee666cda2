"""The same layers as one ONNX node each, run by ONNX Runtime with as many threads as torch.

Its processor backend takes time first only: x ``(T, B, F)`` is given to it so.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from benchmarks.steps import Named

__all__ = ["Inference", "Step"]

onnx: Any = import_module("onnx")
onnxruntime: Any = import_module("onnxruntime")

ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}  # of ONNX's gates among torch's: iofc, zrh
OPSET, IR = 21, 10


def _session(layer: nn.RNNBase, batch: int, threads: int) -> Any:
    """The node between x and initial states on one side, y and last states on the other."""
    kind, hidden = type(layer).__name__, layer.hidden_size
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    options = {"linear_before_reset": 1} if kind == "GRU" else {}
    node = onnx.helper.make_node(
        kind,
        ["x", "W", "R", "B", "", *(f"{name}0" for name in states)],
        ["y", *(f"{name}1" for name in states)],
        hidden_size=hidden,
        **options,
    )
    value = lambda name, shape: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [value("x", ["T", batch, layer.input_size]), *(value(f"{n}0", [1, batch, hidden]) for n in states)],
        [value("y", ["T", 1, batch, hidden]), *(value(f"{n}1", [1, batch, hidden]) for n in states)],
        [onnx.numpy_helper.from_array(array, name) for name, array in _weights(layer).items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR)
    given = onnxruntime.SessionOptions()
    given.intra_op_num_threads, given.log_severity_level = threads, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), given, providers=["CPUExecutionProvider"])


def _weights(layer: nn.RNNBase) -> dict[str, numpy.ndarray]:
    def blocks(name: str) -> numpy.ndarray:
        parts = layer.get_parameter(name).detach().chunk(len(ORDER[type(layer).__name__]))
        return torch.cat([parts[i] for i in ORDER[type(layer).__name__]]).numpy()[None]

    biases = numpy.concatenate([blocks("bias_ih_l0"), blocks("bias_hh_l0")], 1)
    return {"W": blocks("weight_ih_l0"), "R": blocks("weight_hh_l0"), "B": biases}


def _zeros(layer: nn.RNNBase, batch: int) -> dict[str, numpy.ndarray]:
    names = ["h0", "c0"] if type(layer).__name__ == "LSTM" else ["h0"]
    return {name: numpy.zeros((1, batch, layer.hidden_size), numpy.float32) for name in names}


class Inference:
    """A whole sequence."""

    def __init__(self, layer: nn.RNNBase, x: Tensor) -> None:
        self.session = _session(layer, len(x), torch.get_num_threads())
        self.given = {"x": x.transpose(0, 1).contiguous().numpy(), **_zeros(layer, len(x))}

    def __call__(self) -> Any:
        return self.session.run(["y"], self.given)[0]

    def result(self) -> Named:
        """y."""
        return {"y": torch.from_numpy(self()).squeeze(1).transpose(0, 1)}


class Step:
    """One step at a time by one thread, the state bound to the node's own memory: its quickest way."""

    def __init__(self, layer: nn.RNNBase, batch: int) -> None:
        self.session = _session(layer, batch, 1)
        self.states = [name[0] for name in _zeros(layer, batch)]
        self.x = numpy.zeros((1, batch, layer.input_size), numpy.float32)
        self.y = numpy.zeros((1, 1, batch, layer.hidden_size), numpy.float32)
        wrap: Callable[[Any], Any] = onnxruntime.OrtValue.ortvalue_from_numpy
        self.bindings = []
        memories = [[wrap(array) for array in _zeros(layer, batch).values()] for _ in range(2)]
        for before, after in (memories, memories[::-1]):
            binding = self.session.io_binding()
            binding.bind_cpu_input("x", self.x)
            binding.bind_output("y", "cpu", 0, numpy.float32, self.y.shape, self.y.ctypes.data)
            for name, old, new in zip(self.states, before, after, strict=True):
                binding.bind_ortvalue_input(f"{name}0", old)
                binding.bind_ortvalue_output(f"{name}1", new)
            self.bindings.append(binding)

    def push(self, x: numpy.ndarray) -> numpy.ndarray:
        """x ``(1, B, F)`` to y ``(1, 1, B, H)``, in memory that the next step overwrites."""
        self.x[:] = x
        self.session.run_with_iobinding(self.bindings[0])
        self.bindings.reverse()
        return self.y
