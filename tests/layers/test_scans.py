"""Scan layers: the papers' equations step by step, initialisation, extreme inputs, errors, export and streaming."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.export import Dim, export

from recurra import (
    LRU,
    QRNN,
    RGLRU,
    SRU,
    CausalConvolution,
    MinGRU,
    MinLSTM,
    Scan,
    Stack,
    Stream,
    check_stable,
    tree,
    use_backend,
)
from recurra.errors import ConfigError, ContractError, UnstableError
from recurra.kernels.cpu import build
from recurra.layers.scans import SCANS
from recurra.layers.scans.rglru import safe_sqrt
from recurra.testing import check_layer, examine_layer

F, H, T = 3, 4, 7
native = pytest.mark.skipif(not build.compiler(), reason="no C++ compiler")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


class Leaky(Scan):
    """A user's layer: h' = decay * h + x.n with one decay for all steps, y = h' * x.o."""

    gates = ("n", "o")
    vectors = ("rate",)

    def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
        return torch.exp(-torch.exp(p.rate)), x.n

    def readout(self, h: Tensor, x: Any, p: Any) -> Tensor:
        return h * x.o


# The equations of the papers, one step each: (layer, x, h) -> (y, h).


def g(v: Tensor) -> Tensor:
    return torch.where(v >= 0, v + 0.5, sigmoid(v))


def mingru(layer: Any, x: Tensor, h: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    z, n = (x @ layer.W.T + layer.b).chunk(2, -1)
    h = (1 - sigmoid(z)) * h + sigmoid(z) * g(n)
    return h, h


def minlstm(layer: Any, x: Tensor, h: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    f, i, n = (x @ layer.W.T + layer.b).chunk(3, -1)
    f, i = sigmoid(f), sigmoid(i)
    h = f / (f + i) * h + i / (f + i) * g(n)
    return h, h


def lru(layer: Any, x: Tensor, h: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    real, imaginary, D = layer.W.chunk(3)
    b_real, b_imaginary, b_skip = layer.b.chunk(3)
    turn = torch.exp(torch.complex(-torch.exp(layer.nu), torch.exp(layer.theta)))
    fed = x.to(h.dtype) @ torch.complex(real, imaginary).T + torch.complex(b_real, b_imaginary)
    h = turn * h + torch.exp(layer.gamma) * fed
    C = torch.complex(layer.C[:, 0::2], -layer.C[:, 1::2])
    return (h @ C.T).real + x @ D.T + b_skip, h


def rglru(layer: Any, x: Tensor, h: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    v = x if layer.W is None else x @ layer.W.T + layer.b
    r, i = ([], [])
    size = layer.hidden_size // layer.blocks
    for block in range(layer.blocks):
        product = v[:, block * size : (block + 1) * size] @ layer.G[block]
        r.append(product[:, :size])
        i.append(product[:, size:])
    shift_r, shift_i = layer.c.chunk(2)
    a = sigmoid(-layer.decay) ** (8 * sigmoid(torch.cat(r, -1) + shift_r))  # of softplus(d) = -log sigmoid(-d)
    h = a * h + torch.sqrt(1 - a**2) * sigmoid(torch.cat(i, -1) + shift_i) * v
    return h, h


def qrnn(layer: Any, x: Tensor, h: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    old, new = layer.W.chunk(2, 1)
    n, f, o = (before @ old.T + x @ new.T + layer.b).chunk(3, -1)
    h = sigmoid(f) * h + (1 - sigmoid(f)) * tanh(n)
    return sigmoid(o) * h, h


def sru(layer: Any, x: Tensor, h: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    n, f, r, *past = (x @ layer.W.T + layer.b).split(layer.hidden_size, -1)
    h = sigmoid(f) * h + (1 - sigmoid(f)) * n
    return sigmoid(r) * tanh(h) + (1 - sigmoid(r)) * (past[0] if past else x), h


EQUATIONS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "mingru": mingru,
    "minlstm": minlstm,
    "lru": lru,
    "rglru": rglru,
    "qrnn": qrnn,
    "sru": sru,
}


@pytest.mark.parametrize("features", [F, H], ids=["other size", "same size"])
@pytest.mark.parametrize("name", SCANS)
def test_layer_is_its_papers_equation(name: str, features: int) -> None:
    kind: Any = SCANS[name]
    layer = kind(features, H, **({"blocks": 2} if name == "rglru" else {})).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(2, T, features, dtype=torch.float64)
    h = torch.zeros(2, H, dtype=torch.complex128 if name == "lru" else torch.float64)
    before, outputs = torch.zeros_like(x[:, 0]), []
    for x_t in x.unbind(1):
        y, h = EQUATIONS[name](layer, x_t, h, before)
        outputs.append(y)
        before = x_t
    y, last = layer(x)
    torch.testing.assert_close(y, torch.stack(outputs, 1), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(last.h, torch.view_as_real(h) if h.is_complex() else h, atol=1e-12, rtol=1e-12)


def test_the_table_is_whole() -> None:
    assert set(EQUATIONS) == set(SCANS)
    assert [kind.__name__ for kind in SCANS.values()] == ["MinGRU", "MinLSTM", "LRU", "RGLRU", "QRNN", "SRU"]


# A user's own layer.


@native
def test_a_users_layer_is_compiled_and_keeps_the_laws() -> None:
    check_layer(lambda: Leaky(F, H))
    layer = Leaky(F, H)
    assert layer.explain(torch.randn(2, T, F)) == "Leaky(3 -> 4) on B=2, T=7: fused ran"
    with use_backend("native"):
        text = layer.explain(torch.randn(2, T, F), lengths=[7, 1])
    assert "scan of H=4 on B=2, T=7, ragged: native ran" in text


@pytest.mark.parametrize("name", SCANS)
def test_explain_says_which_path_ran(name: str) -> None:
    text = SCANS[name](F, F).explain(torch.randn(2, T, F))
    reasons = {"lru": "real numbers", "rglru": "not one product W x + b", "sru": "no attribute 'input'"}
    if build.compiler():
        assert ("fused ran" in text) == (name not in reasons)
        assert reasons.get(name, "") in text


def test_laws_catch_broken_layers() -> None:
    class Centred(Leaky):
        """Takes the mean over time."""

        def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
            a, b = super().coefficients(x, p)
            return a, b - b.mean(1, keepdim=True)

    class Forgetful(QRNN):
        """The last input is not carried."""

        def remember(self, last: Tensor, state: Any) -> dict[str, Tensor]:
            return {**super().remember(last, state), "h": last * 0.999}

    class Detached(Leaky):
        """The first state has no gradient."""

        def begin(self, state: Any) -> Tensor:
            return super().begin(state).detach()

    for kind, law in ((Centred, "no future"), (Forgetful, "chunks"), (Detached, "finite differences")):
        assert examine_layer(lambda kind=kind: kind(F, H), only=law).broken == (law,)


def test_wrong_coefficients_are_named() -> None:
    def layer(a: Any, b: Any = lambda x: x.n) -> Scan:
        class Wrong(Scan):
            gates = ("n",)

            def coefficients(self, x: Any, p: Any) -> Any:
                return (a(x), b(x)) if b else a(x)

        return Wrong(F, H)

    cases = {
        r"expected two tensors \(a, b\), got Tensor": layer(lambda x: x.n, None),
        r"expected two tensors \(a, b\), got \['str', 'Tensor'\]": layer(lambda x: "0.5"),
        r"expected a and b of shape \(2, 7, 4\) or \(4,\), got \(2, 7, 1\)": layer(lambda x: x.n[..., :1]),
        "expected real numbers as the class attribute says, got torch.complex64": layer(lambda x: x.n + 0j),
    }
    for message, wrong in cases.items():
        with pytest.raises(ConfigError, match=f"Wrong.coefficients: {message}"):
            wrong(torch.randn(2, T, F))
    with pytest.raises(TypeError, match=r"Empty must define coefficients\(self, x, p\)"):
        type("Empty", (Scan,), {"gates": ("n",)})(F, H).coefficients(None, None)


def test_numbers_and_vectors_will_do_for_coefficients() -> None:
    class Fading(Scan):
        gates, vectors = ("n",), ("push",)

        def coefficients(self, x: Any, p: Any) -> tuple[Any, Any]:
            return 0.5, p.push

    layer, x = Fading(F, H), torch.zeros(2, T, F)
    with torch.no_grad():
        layer.get_parameter("push").fill_(2.0)
    want = 4 - 4 * 0.5 ** torch.arange(1, T + 1).view(1, T, 1).expand(2, T, H)
    for backend in ("fused", "native", "doubling", "reference"):
        with use_backend(backend):
            torch.testing.assert_close(layer(x)[0], want, check_stride=False)
    check_layer(lambda: Fading(F, H), only=["steps", "padded row"])


def test_wrong_readout_is_named() -> None:
    class Wrong(Leaky):
        def readout(self, h: Tensor, x: Any, p: Any) -> Tensor:
            return h.sum(-1)

    with pytest.raises(ConfigError, match=r"Wrong.readout: expected real y of shape \(2, 7, 4\), got \(2, 7\)"):
        Wrong(F, H)(torch.randn(2, T, F))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gates": ()}, "gates: expected a tuple of different names"),
        ({"gates": ("n", "n")}, "gates: expected a tuple of different names"),
        ({"gates": ("input",)}, "'input' is taken"),
        ({"vectors": ("W",)}, "'W' is taken"),
        ({"vectors": "rate"}, "vectors: expected a tuple"),
        ({"window": 0}, "expected window to be a whole number of at least 1, got 0"),
        ({"numbers": "integer"}, "numbers='real' or 'complex', got 'zeros' and 'integer'"),
    ],
)
def test_wrong_names_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        type("Wrong", (Leaky,), changes)(F, H)


def test_wrong_arguments_are_refused() -> None:
    for wrong in (0, 2.0, True):
        with pytest.raises(ConfigError, match="expected hidden_size to be a whole number"):
            MinGRU(F, wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="expected width to be a whole number"):
            CausalConvolution(F, wrong)  # type: ignore[arg-type]
    for radius in ((-0.1, 0.5), (0.5, 0.5), (0.9, 1.01)):
        with pytest.raises(ConfigError, match="0 <= from < to <= 1"):
            LRU(F, H, radius=radius)
    with pytest.raises(ConfigError, match="phase above 0"):
        LRU(F, H, phase=0.0)
    with pytest.raises(ConfigError, match="blocks that divide hidden_size 4, got 3"):
        RGLRU(F, H, blocks=3)


# Initialisation and stability.


def test_lru_begins_on_its_ring_and_cannot_leave_the_disc() -> None:
    layer = LRU(8, 2000, radius=(0.5, 0.9), phase=1.0)
    a = layer.trace(torch.zeros(1, 1, 8))["a"][0, 0].detach()
    squares = a.abs().square()
    assert 0.499**2 <= squares.min() < 0.27
    assert 0.79 < squares.max() <= 0.901**2
    assert abs(float(squares.mean()) - (0.25 + 0.81) / 2) < 0.02  # uniform in area
    assert 0 < a.angle().min() < 0.01 < 0.99 < a.angle().max() <= 1.001
    torch.testing.assert_close(layer.gamma.exp().square() + squares, torch.ones(2000), atol=1e-5, rtol=0)
    with torch.no_grad():
        layer.nu.normal_(std=4)
    check_stable(layer.trace(torch.zeros(1, 1, 8))["a"])
    for radius in ((0.0, 1.0), (0.999, 1.0)):
        assert all(parameter.isfinite().all() for parameter in LRU(8, 500, radius=radius).parameters())


def test_lru_keeps_the_size_of_its_input() -> None:
    """The normalisation by gamma: random inputs give states about as large as B x, whatever |lambda|."""
    layer, x = LRU(64, 64, radius=(0.5, 0.99)), torch.randn(4, 1000, 64)
    h = layer.trace(x)["h"].detach()[:, 500:].abs().square().mean()
    assert 0.7 < float(h) < 1.4


def test_rglru_begins_with_its_papers_decays() -> None:
    layer = RGLRU(16, 4096)
    slowest = torch.exp(-8 * nn.functional.softplus(layer.get_parameter("decay"))).detach()
    assert 0.8999 < slowest.min() < 0.901
    assert 0.998 < slowest.max() < 0.9991
    assert abs(float(slowest.mean()) - 0.9495) < 0.002
    assert layer.G.shape == (16, 256, 512)


def test_rglru_has_finite_gradients_where_nothing_decays() -> None:
    for dtype in (torch.float32, torch.float64):
        layer = RGLRU(F, F, dtype=dtype)
        with torch.no_grad():
            layer.c[:F] = -1e4  # r = 0 exactly, so a = 1 and 1 - a^2 = 0
        y, _ = layer(torch.randn(2, T, F, dtype=dtype).requires_grad_())
        y.sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    (slope,) = torch.autograd.grad(safe_sqrt(x).sum(), x)
    assert slope.tolist() == [0.0, 0.25]


@pytest.mark.parametrize("kind", [MinGRU, MinLSTM, QRNN, SRU])
def test_saturated_gates_stay_finite(kind: type[Scan]) -> None:
    """Gates far beyond where sigmoid ends at 0 and 1: f / (f + i) is 0 / 0 if computed as written."""
    x = torch.eye(F).repeat(2, 3, 1)
    for backend in ("fused", "native", "reference"):
        layer = kind(F, F)
        with torch.no_grad():
            layer.W.mul_(1e4)
            layer.b.fill_(-1e4)
        with use_backend(backend):
            y, _ = layer(x)
            y.sum().backward()
        assert y.isfinite().all()
        assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_mingru_stays_between_its_candidates() -> None:
    layer, x = MinGRU(F, H), 10 * torch.randn(3, 500, F)
    with torch.no_grad():
        y, _ = layer(x)
    found = layer.trace(x)
    n = found["b"] / (1 - found["a"]).clamp(min=1e-6)
    assert (y <= n.amax((0, 1)).clamp(min=0) * 1.001).all()
    assert (y >= 0).all()
    check_stable(found["a"])


def test_trace_shows_where_a_layer_grows() -> None:
    class Growing(Leaky):
        def coefficients(self, x: Any, p: Any) -> tuple[Tensor, Tensor]:
            return 1 + x.o.square(), x.n

    x = torch.randn(2, T, F)
    found = Growing(F, H).trace(x, lengths=[T, 3])
    assert list(found) == ["a", "b", "h", "y"]
    assert not found["a"][1, 3:].any()
    with pytest.raises(UnstableError, match=r"row .*, step .*, channel "):
        check_stable(found["a"])


# Precision, streaming, export.


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [MinGRU, LRU, RGLRU])
def test_half_precision_scans_in_float32(kind: type[Scan], dtype: torch.dtype) -> None:
    """Long memories survive: 0.999 is 1 in bfloat16."""
    layer = kind(F, H).to(dtype)
    x = torch.randn(2, 200, F).to(dtype)
    y, last = layer(x)
    assert {y.dtype, *(leaf.dtype for leaf in tree.leaves(last))} == {dtype}
    exact = copy.deepcopy(layer).double()
    want = exact(x.double())[0].detach()
    assert (y.double() - want).abs().max() < 8 * torch.finfo(dtype).eps * max(1.0, float(want.abs().max()))
    y.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_autocast_keeps_the_state_in_float32() -> None:
    layer, x = RGLRU(F, H), torch.randn(2, T, F)
    want, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, last = layer(x)
    assert (y.dtype, last.h.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(y, want, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("name", [*SCANS, "stack"])
def test_a_stream_goes_on_where_another_stopped(name: str, tmp_path: Any) -> None:
    make: Any = SCANS.get(name, lambda *_: Stack(CausalConvolution(F), MinGRU(F, H)))
    layer, x = make(F, H), torch.randn(1, T, F)
    stream, other = Stream(layer), Stream(copy.deepcopy(layer))
    outputs = [stream.push(x_t) for x_t in x[:, :3].unbind(1)]
    stream.save(tmp_path / "memory.safetensors")
    other.load(tmp_path / "memory.safetensors")
    outputs += [other.push(x_t) for x_t in x[:, 3:].unbind(1)]
    torch.testing.assert_close(torch.stack(outputs, 1), layer(x)[0])


@pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
def test_one_graph_for_all_sizes() -> None:
    torch._dynamo.reset()
    layer = Stack(CausalConvolution(F, 2), MinGRU(F, H), LRU(H, H))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch, time in ((2, 7), (3, 9)):
        x, lengths, found = torch.randn(batch, time, F), torch.tensor([time, 0, 3][:batch]), []
        for run in (layer, compiled):
            layer.zero_grad()
            given = x.clone().requires_grad_()
            y, state = run(given, lengths=lengths)
            (y.square().sum() + sum(leaf.sum() for leaf in tree.leaves(state))).backward()
            found.append([y.detach(), given.grad, *[p.grad for p in layer.parameters()]])
        torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.filterwarnings("ignore")
def test_export_with_dynamic_batch_and_time(dtype: torch.dtype) -> None:
    layer = Stack(CausalConvolution(F), QRNN(F, H), LRU(H, H)).to(dtype).eval()
    sizes = ({0: Dim("B"), 1: Dim("T")},)
    program = export(layer, (torch.randn(2, 6, F, dtype=dtype),), dynamic_shapes=sizes)
    assert "recurra.scan" in str(program.graph)
    for shape in ((1, 5, F), (4, 33, F)):
        x = torch.randn(shape, dtype=dtype)
        torch.testing.assert_close(program.module()(x)[0], layer(x)[0])


# The convolution.


@pytest.mark.parametrize("width", [1, 2, 4])
def test_convolution_is_torchs_own(width: int) -> None:
    layer, x = CausalConvolution(F, width).double(), torch.randn(2, T, F, dtype=torch.float64)
    with torch.no_grad():
        layer.b.normal_()
    padded = nn.functional.pad(x.transpose(1, 2), (width - 1, 0))
    want = nn.functional.conv1d(padded, layer.w.flip(0).T.unsqueeze(1), layer.b, groups=F).transpose(1, 2)
    y, last = layer(x)
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(last.x, x[:, T - width + 1 :])
    check_layer(lambda: CausalConvolution(F, width), only=["chunks", "padded row", "unread padding", "steps"])


def test_convolution_refuses_the_state_of_another_width() -> None:
    x = torch.randn(2, T, F)
    with pytest.raises(ContractError):
        check_layer(lambda: _Shortened(F), only="chunks")
    with pytest.raises(ValueError, match="expected a state of"):
        CausalConvolution(F, 4)(x, CausalConvolution(F, 3)(x)[1])


class _Shortened(CausalConvolution):
    """Carries the inputs before the last one."""

    def sequence(self, x: Tensor, state: Any, lengths: Tensor | None) -> tuple[Tensor, Any]:
        y, after = super().sequence(x, state, lengths)
        return y, tree.State(x=after.x.roll(1, 1))
