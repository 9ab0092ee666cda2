"""The twins of torch's layers: PyTorch's own table of inputs, random ones, and the seam for faster variants.

Here torch's path must give torch's bits. What the kernels under the twins compute is in test_twin_kernels.
"""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from recurra import dropin
from recurra.errors import ConfigError
from recurra.kernels.dispatch import Variant, record, use_backend

with mock.patch.object(
    torch.backends, "disable_global_flags"
):  # importing it would freeze torch's flags for all tests
    from torch.testing._internal.common_modules import ModuleErrorEnum, ModuleInfo, module_db

# Torch says this once in a process, when the first LSTM with proj_size runs, a twin or not.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")

KINDS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
INPUTS = {"RNN": 64, "LSTM": 32, "GRU": 32}  # how many PyTorch 2.13 has, packed ones included
ERRORS = 14
TABLE = {info.module_cls.__name__: info for info in module_db if info.module_cls in KINDS.values()}


def tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [tensor for part in value if part is not None for tensor in tensors(part)]


def fresh(value: Any) -> Any:
    """A copy with its own leaves, as differentiable as the original."""
    if isinstance(value, PackedSequence):
        return value._replace(data=fresh(value.data))
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return tuple(map(fresh, value)) if isinstance(value, tuple) else value


def run(layer: nn.Module, *args: Any) -> dict[str, list[torch.Tensor]]:
    """All outputs, and the gradients of a loss in which every output counts differently."""
    args = tuple(map(fresh, args))
    output = layer(*args)
    floats = [tensor for tensor in tensors(output) if tensor.requires_grad]
    weights = [torch.linspace(-1, 2, tensor.numel(), dtype=tensor.dtype).view(tensor.shape) for tensor in floats]
    leaves = [tensor for tensor in tensors(args) if tensor.requires_grad] + list(layer.parameters())
    loss = sum((tensor * weight).sum() for tensor, weight in zip(floats, weights, strict=True))
    return {"outputs": tensors(output), "gradients": list(torch.autograd.grad(loss, leaves))}


def assert_same(theirs: nn.Module, ours: nn.Module, *args: Any) -> None:
    """The same computation, so the same bits."""
    want, got = run(theirs, *args), run(ours, *args)
    assert len(want["outputs"]) >= 2
    assert want["gradients"]
    for name in want:
        for a, b in zip(want[name], got[name], strict=True):
            assert torch.equal(a, b), name


def twin_of(layer: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """A twin built by its own constructor, with the layer's weights through state_dict."""
    twin = getattr(dropin, type(layer).__name__)(*args, **kwargs)
    twin.load_state_dict(layer.state_dict())
    return twin.train(layer.training)


class TestTorchsOwnTable:
    """`torch.testing._internal.common_modules.module_db`, the inputs that PyTorch tests its modules with."""

    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("name", KINDS)
    def test_every_input(self, name: str, dtype: torch.dtype, training: bool) -> None:
        info: ModuleInfo = TABLE[name]
        assert dtype in info.dtypes
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=dtype, requires_grad=True, training=training, with_packed_sequence=True
        )
        assert len(inputs) >= INPUTS[name]
        for sample in inputs:
            construction = sample.constructor_input
            options = {**construction.kwargs, "dtype": dtype}
            theirs = info.module_cls(*construction.args, **options).train(training)
            ours = twin_of(theirs, *construction.args, **options)
            assert not sample.forward_input.kwargs
            with use_backend("torch"):
                assert_same(theirs, ours, *sample.forward_input.args)

    @pytest.mark.parametrize("name", KINDS)
    def test_every_error(self, name: str) -> None:
        info: ModuleInfo = TABLE[name]
        samples = info.module_error_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=True, training=True
        )
        assert len(samples) >= ERRORS
        for sample in samples:
            theirs, ours = (self._failure(cls, sample) for cls in (info.module_cls, getattr(dropin, name)))
            assert isinstance(theirs, sample.error_type)
            assert re.search(sample.error_regex, str(theirs))
            assert (type(ours), str(ours)) == (type(theirs), str(theirs))

    @staticmethod
    def _failure(cls: type, sample: Any) -> Exception:
        construction, forward = sample.module_error_input.constructor_input, sample.module_error_input.forward_input
        if sample.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(sample.error_type) as caught:
                cls(*construction.args, **construction.kwargs)
            return caught.value
        layer = cls(*construction.args, **construction.kwargs)
        with pytest.raises(sample.error_type) as caught:
            layer(*forward.args, **forward.kwargs)
        return caught.value


@st.composite
def calls(draw: Callable) -> tuple[nn.Module, tuple, dict, tuple]:
    """A torch layer, the arguments that built it, and an input for it."""
    name = draw(st.sampled_from(sorted(KINDS)))
    features, hidden, time, batch = (draw(st.integers(1, most)) for most in (5, 6, 7, 4))
    options = {
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64])),
    }
    if name == "LSTM":
        options["proj_size"] = draw(st.integers(0, hidden - 1))
    if name == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    shape = draw(st.sampled_from(["padded", "packed", "unbatched"]))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    layer = KINDS[name](features, hidden, **options).train(draw(st.booleans()))
    first, axes = options["batch_first"], {"padded": (time, batch), "packed": (time, batch), "unbatched": (time,)}
    size = axes[shape][::-1] if first and shape != "unbatched" else axes[shape]
    x = torch.randn(*size, features, dtype=options["dtype"], requires_grad=True)
    if shape == "packed":
        lengths = draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch))
        x = fresh(pack_padded_sequence(x.detach(), torch.tensor(lengths), first, enforce_sorted=False))
        x.data.requires_grad_(True)
    if not draw(st.booleans()):
        return layer, (features, hidden), options, (x,)
    rows = () if shape == "unbatched" else (batch,)
    sizes = [options.get("proj_size") or hidden, hidden][: 1 + (name == "LSTM")]
    depth = options["num_layers"] * (1 + options["bidirectional"])
    hx = tuple(torch.randn(depth, *rows, n, dtype=options["dtype"], requires_grad=True) for n in sizes)
    return layer, (features, hidden), options, (x, hx if name == "LSTM" else hx[0])


class TestTwins:
    @given(calls())
    @settings(max_examples=150, deadline=None)
    def test_any_call(self, call: tuple) -> None:
        layer, args, options, inputs = call
        with use_backend("torch"):
            assert_same(layer, twin_of(layer, *args, **options), *inputs)

    @pytest.mark.parametrize("name", KINDS)
    def test_construction_draws_the_same_numbers(self, name: str) -> None:
        made = []
        for cls in (KINDS[name], getattr(dropin, name)):
            torch.manual_seed(3)
            made.append(cls(3, 5, 2, bidirectional=True))
        theirs, ours = made
        assert repr(theirs) == repr(ours)
        assert list(theirs.state_dict()) == list(ours.state_dict())
        assert all(map(torch.equal, theirs.parameters(), ours.parameters()))

    @pytest.mark.parametrize("name", KINDS)
    def test_dropout_between_layers(self, name: str) -> None:
        theirs = KINDS[name](3, 5, 3, dropout=0.5)
        ours, outputs = twin_of(theirs, 3, 5, 3, dropout=0.5), []
        for layer in (theirs, ours):
            torch.manual_seed(5)
            outputs.append(layer(torch.ones(7, 2, 3))[0])
        assert torch.equal(*outputs)
        with pytest.warns(UserWarning, match="num_layers greater than 1"):
            getattr(dropin, name)(3, 5, dropout=0.5)

    @pytest.mark.parametrize(
        ("shape", "state"),
        [
            ((3,), None),
            ((2, 4, 5, 3), None),
            ((7, 2, 4), None),
            ((7, 2, 3), (1, 1, 5)),
            ((7, 2, 3), (1, 5)),
            ((7, 3), (1, 2, 5)),
            ((7, 2, 3), (2, 2, 5)),
            ((0, 2, 3), None),
        ],
    )
    @pytest.mark.parametrize("name", KINDS)
    def test_wrong_inputs(self, name: str, shape: tuple, state: tuple | None) -> None:
        failures = []
        for cls in (KINDS[name], getattr(dropin, name)):
            hx = None if state is None else torch.zeros(state)
            hx = (hx, hx) if name == "LSTM" and hx is not None else hx
            with pytest.raises((ValueError, RuntimeError, IndexError)) as caught:
                cls(3, 5)(torch.zeros(shape), hx)
            failures.append((caught.type, str(caught.value)))
        assert failures[0] == failures[1]


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> Iterator[list]:
    """A faster variant, as a later kernel would be: it takes layers without bias, and notes its calls."""
    seen: list[dropin.Call] = []

    def run_rival(call: dropin.Call) -> Any:
        seen.append(call)
        output, state = KINDS[type(call.layer).__name__].forward(call.layer, call.input, call.hx)
        return output + 1, state

    def accepts(call: dropin.Call) -> str:
        return "this kernel has no bias" if call.layer.bias else ""

    variants = [Variant("rival", run_rival, accepts), *dropin.torch_layer.variants]
    monkeypatch.setattr(dropin.torch_layer, "variants", variants)
    return seen


class TestSeam:
    def test_explained(self) -> None:
        layer = dropin.LSTM(3, 5)
        assert layer.explain(torch.zeros(7, 2, 3)).startswith("LSTM(3, 5) on (7, 2, 3): torch ran\n    fused ")
        packed = pack_padded_sequence(torch.zeros(7, 2, 3), torch.tensor([7, 4]))
        want = "LSTM(3, 5) on a PackedSequence of 2 rows, 7 steps: torch ran\n    fused refused: "
        assert layer.explain(packed).startswith(want)

    def test_few_steps_are_not_asked_about(self, rival: list) -> None:
        layer = dropin.GRU(3, 5, bias=False)
        with record() as log:
            layer(torch.zeros(1, 2, 3))
        assert not rival
        assert not log
        assert layer.explain(torch.zeros(1, 2, 3)).endswith("rival ran")

    @pytest.mark.parametrize("name", KINDS)
    def test_a_rival_serves_every_twin(self, name: str, rival: list) -> None:
        x = torch.randn(20, 2, 3)
        layer = getattr(dropin, name)(3, 5, bias=False)
        assert torch.equal(layer(x)[0], KINDS[name].forward(layer, x)[0] + 1)
        assert [type(call.layer) for call in rival] == [type(layer)]
        assert layer.explain(x).endswith("rival ran")

    def test_a_refusal_falls_back_without_a_warning(self, rival: list) -> None:
        layer, x = dropin.GRU(3, 5), torch.randn(20, 2, 3, dtype=torch.float64)
        layer.double()
        assert torch.equal(layer(x)[0], nn.GRU.forward(layer, x)[0])
        assert not rival
        text = layer.explain(x)
        assert "torch ran" in text
        assert "rival refused: this kernel has no bias" in text

    def test_backends_and_records(self, rival: list) -> None:
        layer, x = dropin.GRU(3, 5, bias=False), torch.randn(20, 2, 3)
        for name in ("torch", "reference"):
            with use_backend(name), record() as log:
                layer(x)
            assert [decision.ran for decision in log] == [name]
        assert not rival

    def test_hooks_see_a_rival(self, rival: list) -> None:
        layer, seen = dropin.GRU(3, 5, bias=False), []
        layer.register_forward_hook(lambda module, args, output: seen.append(output[0]))
        y, _ = layer(torch.randn(20, 2, 3))
        assert len(rival) == 1
        assert seen[0] is y

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
    def test_compilers_and_tracers_get_torchs_path(self, rival: list) -> None:
        layer, x = dropin.GRU(3, 5, bias=False), torch.randn(20, 2, 3)
        want = nn.GRU.forward(layer, x)[0]
        traced = torch.jit.trace(layer, x, check_trace=False)
        exported = torch.export.export(layer, (x,), strict=True).module()
        torch.testing.assert_close(traced(x)[0], want)
        torch.testing.assert_close(exported(x)[0], want)
        assert not rival


class Nest(nn.Module):
    """A model with layers in many places, one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"rnn": nn.LSTM(3, 4, batch_first=True)})
        self.layers = nn.ModuleList([nn.GRU(4, 4, batch_first=True), nn.Sequential(nn.Identity())])
        self.again = self.layers[0]
        self.last = nn.RNN(4, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, _ = self.encoder["rnn"](x)
        for layer in (self.layers[0], self.again, self.last):
            x, _ = layer(x)
        return x


class Louder(nn.LSTM):
    """Somebody's own subclass, which does something else."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, state = super().forward(input, hx)
        return 2 * output, state


class TestFuse:
    def test_everywhere(self) -> None:
        model, x = Nest(), torch.randn(2, 7, 3)
        before, keys, parameters = model(x), list(model.state_dict()), list(model.parameters())
        assert dropin.fuse(model, None) is model
        assert dropin.twins(model) == {"encoder.rnn": "LSTM", "layers.0": "GRU", "last": "RNN"}
        assert type(model.encoder["rnn"]) is dropin.LSTM
        assert model.again is model.layers[0]
        assert list(model.state_dict()) == keys
        assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
        assert torch.equal(model(x), before)

    def test_undone_exactly(self) -> None:
        model = Nest()
        before = {name: (type(m), dict(vars(m))) for name, m in model.named_modules()}
        dropin.fuse(model, None)
        assert {name: (type(m), dict(vars(m))) for name, m in model.named_modules()} != before
        assert dropin.unfuse(model, None) is model
        assert {name: (type(m), dict(vars(m))) for name, m in model.named_modules()} == before
        assert dropin.twins(model) == {}

    @pytest.mark.parametrize("name", KINDS)
    def test_the_model_itself(self, name: str) -> None:
        layer = KINDS[name](3, 5)
        assert type(dropin.fuse(layer, None)) is getattr(dropin, name)
        assert dropin.twins(layer) == {"": name}
        assert type(dropin.unfuse(layer, None)) is KINDS[name]

    def test_a_twin_made_by_hand_is_unfused_too(self) -> None:
        assert type(dropin.unfuse(dropin.GRU(3, 5), None)) is nn.GRU

    def test_subclasses_of_others_are_left_alone(self) -> None:
        model = nn.ModuleList([Louder(3, 5), nn.GRU(3, 5)])
        lines: list[str] = []
        dropin.fuse(model, lines.append)
        assert type(model[0]) is Louder
        assert lines == ["recurra.fuse: twins now: 1 (GRU); left alone as subclasses: 0 (Louder)"]

    def test_parametrized_layers(self) -> None:
        layer = nn.LSTM(3, 5)
        parametrize.register_parametrization(layer, "weight_hh_l0", nn.Identity())
        assert dropin.twins(dropin.fuse(layer, None)) == {}
        twin = dropin.LSTM(3, 5)
        parametrize.register_parametrization(twin, "weight_hh_l0", nn.Identity())
        lines: list[str] = []
        dropin.unfuse(twin, lines.append)
        assert "nothing to change; left alone as subclasses: the model itself (ParametrizedLSTM)" in lines[0]
        parametrize.remove_parametrizations(twin, "weight_hh_l0")
        assert type(twin) is dropin.LSTM

    def test_an_optimizer_built_before_goes_on(self) -> None:
        model = Nest()
        plain = copy.deepcopy(model)
        optimizers = [torch.optim.Adam(m.parameters(), lr=0.1) for m in (model, plain)]
        dropin.fuse(model, None)
        for m, optimizer in zip((model, plain), optimizers, strict=True):
            for _ in range(3):
                optimizer.zero_grad()
                m(torch.ones(2, 7, 3)).square().sum().backward()
                optimizer.step()
        assert all(map(torch.equal, model.parameters(), plain.parameters()))

    def test_hooks_flags_and_flat_weights_stay(self) -> None:
        model, calls_seen = Nest().eval(), []
        rnn = model.encoder["rnn"]
        rnn.register_forward_hook(lambda *args: calls_seen.append("forward"))
        rnn.register_forward_pre_hook(lambda *args: calls_seen.append("before"))
        rnn.weight_ih_l0.requires_grad_(False)
        flat = rnn._flat_weights
        dropin.fuse(model, None)
        twin = model.encoder["rnn"]
        model(torch.zeros(2, 7, 3))
        assert calls_seen == ["before", "forward"]
        assert not twin.training
        assert not twin.weight_ih_l0.requires_grad
        assert twin._flat_weights is flat
        assert all(a is b for a, b in zip(flat, twin.parameters(), strict=True))

    def test_moving_and_loading_afterwards(self) -> None:
        model, other, x = dropin.fuse(Nest(), None), Nest(), torch.randn(2, 7, 3)
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(x), other(x))
        model.double(), other.double()
        assert torch.equal(model(x.double()), other(x.double()))
        values = {name: value + 1 for name, value in other.named_parameters()}
        called = [torch.func.functional_call(m, values, (x.double(),)) for m in (model, other)]
        assert torch.equal(*called)

    def test_deepcopy(self) -> None:
        model, x = dropin.fuse(Nest(), None), torch.randn(2, 7, 3)
        double = copy.deepcopy(model)
        assert dropin.twins(double) == dropin.twins(model)
        assert double.again is double.layers[0]
        with torch.no_grad():
            next(double.parameters()).add_(1)
        assert not torch.equal(double(x), model(x))

    @pytest.mark.parametrize("strict", [False, True])
    @pytest.mark.filterwarnings("ignore:The tensor attributes")  # of torch's _flat_weights, twins or not
    def test_export(self, strict: bool) -> None:
        model, x = dropin.fuse(Nest(), None), torch.randn(2, 7, 3)
        exported = torch.export.export(model, (x,), strict=strict).module()
        torch.testing.assert_close(exported(x), model(x))
        assert len(dropin.twins(model)) == 3

    def test_compile(self) -> None:
        model, x = dropin.fuse(Nest(), None), torch.randn(2, 7, 3)
        assert torch.equal(torch.compile(model, backend="eager")(x), model(x))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
    def test_trace(self) -> None:
        model, x = dropin.fuse(Nest(), None), torch.randn(2, 7, 3)
        assert torch.equal(torch.jit.trace(model, x)(x), model(x))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    @pytest.mark.parametrize("name", KINDS)
    def test_script(self, name: str) -> None:
        """Scripting compiles torch's own layer, and puts it, with the same parameters, into the model."""
        model, x = nn.Sequential(KINDS[name](3, 5)), torch.randn(7, 2, 3)
        want = model(x)
        parameters = list(dropin.fuse(model, None).parameters())
        scripted = torch.jit.script(model)
        assert torch.equal(scripted(x)[0], want[0])
        assert torch.equal(model(x)[0], want[0])
        assert type(model[0]) is KINDS[name]
        assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
        assert dropin.twins(dropin.fuse(model, None)) == {"0": name}


class TestReport:
    def test_a_person_sees_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = Nest()
        dropin.fuse(model)
        dropin.fuse(model)
        dropin.unfuse(model)
        out, err = capsys.readouterr()
        assert out == ""
        assert err.splitlines() == [
            "recurra.fuse: twins now: encoder.rnn (LSTM), layers.0 (GRU), last (RNN)",
            "recurra.fuse: nothing to change",
            "recurra.unfuse: torch's own again: encoder.rnn (LSTM), layers.0 (GRU), last (RNN)",
        ]

    def test_a_long_list_is_cut(self) -> None:
        lines: list[str] = []
        dropin.fuse(nn.ModuleList([nn.GRU(1, 1) for _ in range(11)]), lines.append)
        assert lines[0].endswith("6 (GRU), 7 (GRU) and 3 more")

    def test_silence(self, capsys: pytest.CaptureFixture[str]) -> None:
        dropin.unfuse(dropin.fuse(Nest(), None), None)
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize("function", [dropin.fuse, dropin.unfuse, dropin.twins])
    def test_no_module(self, function: Callable) -> None:
        with pytest.raises(ConfigError, match=r"expected a torch.nn.Module, got builtins.list"):
            function([nn.LSTM(3, 5)])
