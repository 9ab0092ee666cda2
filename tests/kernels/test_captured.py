"""The kernel under torch.compile and torch.export: one graph for any batch and length, the same gradients."""

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch.export import Dim, export

from recurra import (
    GRU,
    LSTM,
    Bidirectional,
    LayerNormLSTM,
    PeepholeLSTM,
    Readout,
    Recurrent,
    Stack,
    State,
    Zoneout,
    use_backend,
    zoo,
)
from recurra.kernels.cpu import build, fused, operation
from recurra.kernels.recurrence import Call

pytestmark = [
    pytest.mark.skipif(not build.compiler(), reason="no C++ compiler"),
    pytest.mark.filterwarnings("ignore"),  # of torch's own, while it compiles
]

LAYERS = {
    "gru": lambda: GRU(3, 5),
    "layer norm": lambda: LayerNormLSTM(3, 17),
    "late gates": lambda: zoo.MGU(3, 5),
    "deep": lambda: Stack(PeepholeLSTM(3, 5), Readout(5, 2)),
    "both directions": lambda: Bidirectional(GRU(3, 5), LSTM(3, 5)),
    "zoneout": lambda: Zoneout(LSTM(3, 5), 0.2).eval(),
}


def gradients(run: Any, layer: Recurrent, x: torch.Tensor, lengths: Any) -> list[torch.Tensor]:
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y, state = run(x, lengths=lengths)
    (y.square().sum() + sum(leaf.sum() for leaf in torch.utils._pytree.tree_leaves(state))).backward()
    return [y.detach(), x.grad, *[p.grad for p in layer.parameters()]]


@pytest.mark.parametrize("name", LAYERS)
def test_compile_gives_one_graph_for_all_sizes(name: str) -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()
    layer = LAYERS[name]()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch, time in ((2, 7), (3, 9), (5, 4)):
        x = torch.randn(batch, time, 3)
        for lengths in (None, torch.tensor([time, 0, 3, 1, 2][:batch])):
            want, got = gradients(layer, layer, x, lengths), gradients(compiled, layer, x, lengths)
            torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("strict", [False, True])
def test_export_with_dynamic_batch_and_time(strict: bool) -> None:
    layer = Stack(GRU(3, 5), Readout(5, 2)).eval()
    program = export(layer, (torch.randn(2, 6, 3),), dynamic_shapes=({0: Dim("B"), 1: Dim("T")},), strict=strict)
    assert "recurra.loop" in str(program.graph)
    for shape in ((1, 5, 3), (4, 33, 3)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x)[0], layer(x)[0])


def test_the_operation_is_what_torch_expects() -> None:
    cell, x = GRU(3, 5), torch.randn(2, 7, 3)
    given = fused._given(Call(cell, x, cell.initial_state(2, x), cell.weights()))
    given = [tensor.detach().requires_grad_(tensor.numel() > 0) for tensor in given]
    name = operation.name_of(fused.kernel_of(cell))
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")  # the fourth compares spare memory
    torch.library.opcheck(operation.loop, (*given, None, name, False, True), test_utils=checks)
    torch.library.opcheck(operation.loop, (*given, torch.tensor([7, 2]), name, True, False), test_utils=checks)


def test_a_kernel_of_another_process_is_asked_for() -> None:
    cell, x = GRU(3, 5), torch.randn(2, 7, 3)
    given = fused._given(Call(cell, x, cell.initial_state(2, x), cell.weights()))
    with pytest.raises(Exception, match="is not loaded in this process: run its layer once"):
        operation.loop(*given, None, "unknown-1-0-0-0", False, False)


def test_a_share_of_its_own_for_each_unit_is_left_to_the_definition() -> None:
    cell, x = LSTM(3, 5), torch.randn(2, 4, 3)
    keep = State(h=torch.rand(2, 4, 5), c=torch.rand(2, 4, 5))

    def run(x: torch.Tensor) -> torch.Tensor:
        return cell.sequence(x, cell.initial_state(2, x), None, keep=keep)[0]

    with use_backend("reference"):
        want = run(x)
    torch.testing.assert_close(torch.compile(run, fullgraph=True, backend="aot_eager")(x), want)


def test_no_compiler_is_loaded_before_it_is_asked_for() -> None:
    """It would cost every program a second when it starts."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, recurra.tasks; print('torch._dynamo' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
