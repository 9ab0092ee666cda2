"""The fused CPU kernel against the reference loop in float64: values, last states and every gradient."""

import copy
import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra import GRU, LSTM, RNN, Bidirectional, Gated, LayerNormLSTM, PeepholeLSTM, State, tree, use_backend, zoo
from recurra import lengths as ragged
from recurra.errors import BuildError
from recurra.kernels.cpu import build, fused, loops, memory
from recurra.kernels.recurrence import Call, define

pytestmark = pytest.mark.skipif(not build.compiler(), reason="no C++ compiler")


class Everything(Gated):
    """A cell that uses every operation a kernel knows, and three states."""

    gates = ("a", "b")
    state = ("h", "c", "n")
    vectors = ("v", "w")

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        a = torch.exp(-(x.a + u.a).abs()) + torch.log(1 + s.c**2) * p.v
        b = torch.nn.functional.softplus(x.b + u.b) / (2 + torch.sqrt(1 + s.n**2))
        c = torch.where(a > b, torch.relu(s.c - a), torch.maximum(s.h, b) * p.w)
        n = torch.minimum(torch.sigmoid(a), torch.tanh(b)) - 0.5 * s.n
        return State(h=torch.tanh(c + n), c=c, n=n)


class NormalizedStages(zoo.MUT3):
    """Two stages, a factor for each late gate, and layer normalisation of every product."""

    normalized = True


CELLS = {
    "layer norm": LayerNormLSTM,
    "late gates": zoo.MGU,
    "late gates of different factors": zoo.MUT3,
    "all of it": NormalizedStages,
    "most gates late": zoo.MultiplicativeLSTM,
    "no matrix": zoo.UnICORNN,
    "rnn": lambda f, h: RNN(f, h),
    "relu": lambda f, h: RNN(f, h, "relu"),
    "gru": GRU,
    "lstm": LSTM,
    "peephole": PeepholeLSTM,
    "everything": Everything,
}
SIZES = [(1, 19, 1), (1, 7, 33), (2, 5, 16), (3, 9, 63), (19, 4, 17), (33, 6, 5), (8, 3, 64), (40, 3, 130)]


def answer(run: Any, cell: Gated, dtype: torch.dtype, made: dict[str, Any]) -> list[Tensor]:
    """y, last state, and gradients of x, the first state and all parameters."""
    cell = copy.deepcopy(cell).to(dtype)
    x = made["x"].to(dtype).requires_grad_()
    first = tree.map(lambda leaf: leaf.to(dtype).requires_grad_(), made["first"])
    keep = made["keep"] and tree.map(lambda k: k if k.dtype == torch.bool else k.to(dtype), made["keep"])
    dropout = None if made["dropout"] is None else made["dropout"].to(dtype)
    call = Call(cell, x, first, cell.weights(), made["lengths"], dropout, keep)
    y, last = run(call)
    y = ragged.blank(y, made["lengths"])
    total = (y * made["flow"].to(dtype)).sum() + sum((leaf * (i + 1)).sin().sum() for i, leaf in enumerate(last))
    total.backward()
    return [y, *last, x.grad, *[leaf.grad for leaf in first], *[p.grad for p in cell.parameters() if p.numel()]]


def make(cell: Gated, batch: int, time: int, kind: str) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(batch * 100 + time)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    size, states = cell.hidden_size, len(cell.state)
    first = State(**{name: random(batch, size) for name in cell.state})
    made = {"x": random(batch, time, cell.input_size), "first": first, "flow": random(batch, time, size)}
    made |= {"lengths": None, "dropout": None, "keep": None}
    if kind == "ragged":
        made["lengths"] = torch.randint(0, time + 1, (batch,), generator=generator)
    if kind == "noise":
        made["dropout"] = (random(batch, size) > 0) * 1.25
        made["keep"] = State(**{name: random(batch, time, size) > 0.5 for name in cell.state})
    if kind == "share":
        made["keep"] = State(
            **{name: torch.full((1, 1, 1), 0.1 * (i + 1)) for i, name in enumerate(cell.state[:states])}
        )
    return made


@pytest.mark.parametrize("kind", ["plain", "ragged", "noise", "share"])
@pytest.mark.parametrize("name", CELLS)
def test_kernel_equals_the_definition(name: str, kind: str) -> None:
    torch.manual_seed(0)
    for batch, time, hidden in SIZES:
        cell = CELLS[name](3, hidden)
        with torch.no_grad():
            for vector in cell.vectors:
                cell.get_parameter(vector).normal_()
        made = make(cell, batch, time, kind)
        want = answer(define, cell, torch.float64, made)
        got = answer(fused.run, cell, torch.float32, made)
        for a, b in zip(want, got, strict=True):
            error = (a - b.double()).abs().max() / (1 + a.abs().max())
            assert error < 2e-5, f"{name} {kind} B={batch} T={time} H={hidden}: {error:.1e}"


@pytest.mark.parametrize("name", ["gru", "lstm", "layer norm", "late gates of different factors"])
def test_in_parts_and_split_by_units(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the work is cut, in time or over threads, every bit of values and gradients is the same."""
    torch.manual_seed(0)
    cell = CELLS[name](3, 70)
    before = torch.get_num_threads()

    def bits(kind: str, batch: int) -> list[Tensor]:
        return answer(fused.run, cell, torch.float32, make(cell, batch, 50, kind))

    try:
        torch.set_num_threads(2)
        for kind, batch in (("plain", 1), ("ragged", 9), ("noise", 3)):
            want = bits(kind, batch)
            for rows, own in ((4096, 0), (8, 1 << 40), (8, 0)):
                monkeypatch.setattr(loops, "ROWS", rows)
                monkeypatch.setattr(loops, "OWN_CACHE", own)
                monkeypatch.setattr(loops, "OWN_FIRST", own)
                got = bits(kind, batch)
                values = len(cell.state) + 1
                assert all(torch.equal(a, b) for a, b in zip(want[:values], got[:values], strict=True)), (rows, own)
                # sums over steps are made in other pieces
                torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
    finally:
        torch.set_num_threads(before)


def test_both_directions_run_at_the_same_time() -> None:
    torch.manual_seed(0)
    layer, x = Bidirectional(GRU(8, 40), PeepholeLSTM(8, 33)), torch.randn(5, 60, 8)
    before = torch.get_num_threads()
    lengths = [60, 0, 1, 33, 59]

    def gradients() -> list[Tensor]:
        layer.zero_grad()
        y, state = layer(x, lengths=lengths)
        (y.square().sum() + sum(leaf.sum() for leaf in tree.leaves(state))).backward()
        return [y.detach(), *[p.grad.clone() for p in layer.parameters()]]

    try:
        torch.set_num_threads(2)
        assert (
            "GRU(8 -> 40) on B=5, T=60, ragged and PeepholeLSTM(8 -> 33) on B=5, T=60, ragged, backwards: fused"
            in (layer.explain(x, lengths=lengths))
        )
        got = gradients()
        with use_backend("reference"):
            torch.testing.assert_close(got, gradients(), atol=1e-4, rtol=1e-4)
        assert "too little work" in layer.explain(x[:, :3])
        seen = []
        layer.ahead.register_forward_hook(lambda *_: seen.append(1))
        torch.testing.assert_close(gradients(), got, atol=1e-5, rtol=1e-4)
        assert seen, "a hook on one direction is called"
    finally:
        torch.set_num_threads(before)


def test_an_input_of_one_step_in_any_memory_layout() -> None:
    cell, x = GRU(4, 5), torch.randn(1, 3, 4).transpose(0, 1)
    cell(x)[0].sum().backward()
    got = cell.W.grad.clone()
    cell.zero_grad()
    cell(x.contiguous().clone())[0].sum().backward()
    assert torch.equal(got, cell.W.grad)


def test_memory_is_used_again() -> None:
    """A block comes back when the last tensor on it is gone, and not before."""
    first = memory.empty(3, memory.SMALL)
    part, place = first[1], first.data_ptr()
    del first
    assert memory.empty(3, memory.SMALL).data_ptr() != place
    del part
    assert memory.empty(3, memory.SMALL).data_ptr() == place


def test_two_threads_equal_one_and_repeat_bit_for_bit() -> None:
    cell, x = PeepholeLSTM(40, 96), torch.randn(37, 30, 40)

    def gradients() -> list[Tensor]:
        cell.zero_grad()
        y, _ = cell(x, lengths=[30 - i % 20 for i in range(37)])
        y.square().mean().backward()
        return [y.detach(), *[p.grad.clone() for p in cell.parameters()]]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two, again = gradients(), gradients()
        assert all(torch.equal(a, b) for a, b in zip(two, again, strict=True))
        torch.set_num_threads(1)
        torch.testing.assert_close(two, gradients(), atol=1e-5, rtol=1e-4)
    finally:
        torch.set_num_threads(before)


def test_it_runs_for_a_cell_never_seen_before_and_shows_its_code() -> None:
    cell = Everything(3, 5)
    assert cell.explain(torch.randn(2, 4, 3)).startswith("Everything(3 -> 5) on B=2, T=4: fused ran")
    assert "struct Cell {" in cell.kernel_source()
    assert "const V t0 = x[0] + u[0];" in cell.kernel_source()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda cell, x: (cell.double(), x.double()), "computes in float32, x is torch.float64"),
        (lambda cell, x: (cell.to("meta"), x.to("meta")), "runs on the processor, x is on meta"),
    ],
)
def test_refusals_say_why(change: Any, reason: str) -> None:
    cell, x = change(PeepholeLSTM(3, 5), torch.randn(2, 4, 3))
    assert reason in fused.accepts(Call(cell, x, cell.initial_state(2, x), cell.weights()))


def test_a_share_of_its_own_for_each_unit_is_refused() -> None:
    cell, x = LSTM(3, 5), torch.randn(2, 4, 3)
    for keep in (
        State(h=torch.rand(2, 4, 5), c=torch.rand(2, 4, 5)),
        State(h=torch.rand(2, 4, 5) > 0.5, c=torch.rand(1)),
    ):
        call = Call(cell, x, cell.initial_state(2, x), cell.weights(), keep=keep)
        assert "keeps whole units, or the same share of all" in fused.accepts(call)


@pytest.mark.parametrize("kind", ["plain", "ragged"])
def test_gradients_of_gradients_come_from_the_reference(kind: str) -> None:
    cell, lengths = PeepholeLSTM(3, 5), None if kind == "plain" else [4, 0, 2]
    x = torch.randn(3, 4, 3, requires_grad=True)

    def penalty(backend: str) -> list[Tensor]:
        with use_backend(backend):
            y, last = cell(x, lengths=lengths)
            (slope,) = torch.autograd.grad(y.square().sum() + last.c.sum(), x, create_graph=True)
            return list(torch.autograd.grad(slope.square().sum(), [x, cell.U, cell.W, cell.p_o]))

    for a, b in zip(penalty("fused"), penalty("reference"), strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_an_attribute_that_changes_makes_another_kernel() -> None:
    cell, x = RNN(3, 5), torch.randn(2, 4, 3)
    for activation in ("tanh", "relu", "tanh"):
        cell.activation = activation
        with use_backend("reference"):
            want, _ = cell(x)
        torch.testing.assert_close(cell(x)[0], want, atol=1e-5, rtol=1e-4)


SCALE = 1.0


class Reading(Gated):
    """An equation that reads an attribute of the object, of the class, of the module, and calls a method."""

    gates = ("a",)
    alpha = 1.0

    def squash(self, value: Tensor) -> Tensor:
        return self.act(self.beta * value)

    def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
        return State(h=self.squash(x.a + u.a) * self.alpha * SCALE * self.pair[0])


def test_whatever_an_equation_reads_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x = Reading(3, 5), torch.randn(2, 4, 3)
    cell.beta, cell.act, cell.pair = 2.0, torch.tanh, (1.0, 2)
    seen = []

    def check() -> None:
        with use_backend("reference"):
            want, _ = cell(x)
        assert "fused ran" in cell.explain(x)
        torch.testing.assert_close(cell(x)[0], want, atol=1e-5, rtol=1e-4)
        seen.append(want.sum().item())

    check()
    cell.beta = 0.5
    check()
    cell.act = torch.sigmoid
    check()
    cell.pair = (3.0, 2)
    check()
    monkeypatch.setattr(Reading, "alpha", 0.25)
    check()
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 7.0)
    check()
    assert len(set(seen)) == 6


def test_a_variable_around_the_equation_may_change() -> None:
    scale = 1.0

    class Enclosed(Gated):
        gates = ("a",)

        def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
            return State(h=torch.tanh(x.a + u.a) * scale)

    cell, x = Enclosed(3, 5), torch.randn(2, 4, 3)
    cell(x)
    scale = 3.0
    with use_backend("reference"):
        want, _ = cell(x)
    torch.testing.assert_close(cell(x)[0], want, atol=1e-5, rtol=1e-4)


def test_a_number_that_a_method_of_the_cell_reads_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    class Helped(Gated):
        gates = ("a",)

        def scaled(self, value: Tensor) -> Tensor:
            return value * SCALE

        def equation(self, x: Any, u: Any, s: Any, p: Any) -> Any:
            return State(h=torch.tanh(self.scaled(x.a + u.a)))

    cell, x = Helped(3, 5), torch.randn(2, 4, 3)
    cell(x)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 7.0)
    with use_backend("reference"):
        want, _ = cell(x)
    torch.testing.assert_close(cell(x)[0], want, atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::recurra.PerformanceWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own forward mode says so
def test_transforms_and_forward_mode_take_the_reference() -> None:
    cell, x = PeepholeLSTM(3, 5), torch.randn(2, 4, 3)
    _, slope = torch.func.jvp(lambda x: cell(x)[0], (x,), (torch.ones_like(x),))
    step = 1e-2
    want = (cell(x + step)[0] - cell(x - step)[0]) / (2 * step)
    torch.testing.assert_close(slope, want, atol=2e-3, rtol=1e-2)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        found = torch.autograd.forward_ad.unpack_dual(cell(dual)[0]).tangent
    torch.testing.assert_close(found, slope)
    rows = torch.func.vmap(lambda row: cell(row[None])[0][0])(x)
    torch.testing.assert_close(rows, cell(x)[0], atol=1e-5, rtol=1e-4)


def test_strided_tensors_keep_their_gradients() -> None:
    cell = PeepholeLSTM(3, 5)
    with torch.no_grad():
        cell.U.set_(torch.randn(5, 20).t())  # another order in memory
    x = torch.randn(4, 3, 3, requires_grad=True)
    state = State(h=torch.randn(5, 3, requires_grad=True), c=torch.randn(5, 3, requires_grad=True))

    def twice(backend: str) -> list[Tensor]:
        with use_backend(backend):
            y, _ = cell(x.transpose(0, 1), tree.map(Tensor.t, state), lengths=[4, 1, 3])
            slopes = torch.autograd.grad(y.square().sum(), [x, cell.U, state.h], create_graph=True)
            return [*slopes, *torch.autograd.grad(sum(s.square().sum() for s in slopes), [x, cell.U, state.h])]

    for a, b in zip(twice("fused"), twice("reference"), strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_nothing_is_saved_when_nothing_trains() -> None:
    cell = PeepholeLSTM(3, 5)
    with torch.no_grad():
        y, _ = cell(torch.randn(2, 4, 3))
    assert not y.requires_grad
    cell.requires_grad_(False)
    assert not cell(torch.randn(2, 4, 3))[0].requires_grad


def test_without_a_compiler_the_reference_runs(tmp_path: Path) -> None:
    code = "import torch, recurra\ncell = recurra.PeepholeLSTM(3, 5)\nprint(cell.explain(torch.randn(2, 4, 3)))\n"
    environment = os.environ | {"PATH": str(tmp_path), "CXX": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "reference ran" in done.stdout
    assert "fused refused: no C++ compiler: set $CXX, or install g++ or clang++" in done.stdout


def test_the_cache_is_private_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = 'extern "C" int answer() { return 42; }'
    assert build.load(source).answer() == 42
    (made,) = (tmp_path / "recurra" / "kernels").iterdir()
    stamp = made.stat().st_mtime_ns
    build.load.cache_clear()
    assert build.load(source).answer() == 42
    assert made.stat().st_mtime_ns == stamp, "the second time it is only loaded"
    with pytest.raises(BuildError, match=r"could not compile the kernel: .*error"):
        build.load("int broken(")
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    made.parent.chmod(0o777)
    build.load.cache_clear()
    with pytest.raises(BuildError, match="can be written by others"):
        build.load(source)


MATH = """
extern "C" void apply(int kind, const float* x, float* y, long count) {
    for (long i = 0; i < count; i += LANES) {
        V v = load(x + i);
        store(y + i, kind == 0 ? exponential(v) : kind == 1 ? hyperbolic_tangent(v) : kind == 2 ? sigmoid(v)
                     : kind == 3 ? logarithm(v) : square_root(v));
    }
}
"""


@pytest.mark.parametrize(
    ("kind", "function", "low", "high", "ulps"),
    [
        (0, torch.exp, -87.0, 88.3, 2.0),
        (1, torch.tanh, -12.0, 12.0, 4.0),
        (2, torch.sigmoid, -80.0, 80.0, 4.0),
        (3, torch.log, 1e-30, 1e30, 4.0),
        (4, torch.sqrt, 0.0, 1e30, 1.0),
    ],
)
def test_functions_are_accurate_and_keep_the_ends(
    kind: int, function: Any, low: float, high: float, ulps: float
) -> None:
    headers = Path(build.__file__).parent / "math.h"
    library = build.load(headers.read_text() + MATH)
    if kind == 3:
        x = torch.logspace(-30, 30, 160000, dtype=torch.float64).float()
    else:
        x = torch.linspace(low, high, 160000)
    x[:16] = torch.tensor(
        [0.0, -0.0, 1e-30, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e-3, *[0.5] * 7]
    )
    y = torch.empty_like(x)
    library.apply(kind, ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_long(len(x)))
    want = function(x.double())
    torch.testing.assert_close(y[:9].double(), want[:9], rtol=1e-6, atol=1e-37, equal_nan=True)
    error = ((y.double() - want).abs() / want.abs().clamp(min=1e-37))[16:]
    assert float(error.max()) < ulps * 2**-24 * 1.01, f"{float(error.max()) * 2**24:.2f} ulp"


def test_memory_may_come_back_while_it_is_given_out() -> None:
    """The collector may free a tensor inside `empty` itself: giving it back must not wait for the lock."""
    tensor = memory.empty(memory.SMALL)
    with memory._lock:
        del tensor
