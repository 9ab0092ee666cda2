"""The kernels under the twins against torch.nn in float64: every option of torch's layers, and what is refused."""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from recurra import dropin, twin_kernels
from recurra.kernels.cpu import build
from recurra.kernels.dispatch import record, use_backend
from test_dropin import INPUTS, KINDS, TABLE, calls, fresh, tensors, twin_of

pytestmark = [
    pytest.mark.skipif(not build.compiler(), reason="no C++ compiler"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
]


@contextmanager
def eager() -> Iterator[None]:
    """The kernels take every call that they can compute: short ones, and an LSTM's that torch has faster."""
    patch = pytest.MonkeyPatch()
    patch.setattr(twin_kernels, "FEW", 0)
    patch.setattr(twin_kernels, "ENOUGH", dict.fromkeys(twin_kernels.ENOUGH, (0, 0)))
    patch.setattr(twin_kernels, "_pays", lambda *sizes: True)
    try:
        yield
    finally:
        patch.undo()


@pytest.fixture
def eagerly() -> Iterator[None]:
    with eager():
        yield


def double(value: Any) -> Any:
    """The same input in float64, with leaves of its own."""
    if isinstance(value, PackedSequence):
        return value._replace(data=double(value.data))
    if isinstance(value, Tensor):
        return value.detach().double().requires_grad_(value.requires_grad)
    return tuple(map(double, value)) if isinstance(value, tuple) else value


def answers(layer: nn.Module, *args: Any) -> list[Tensor]:
    """All outputs, and the gradients of inputs, states and parameters, of a loss that weighs each output."""
    output = tensors(layer(*args))
    floats = [tensor for tensor in output if tensor.requires_grad]
    loss = sum((t * torch.linspace(-1, 2, t.numel(), dtype=t.dtype).view(t.shape)).sum() for t in floats)
    leaves = [t for t in tensors(args) if t.requires_grad] + [p for p in layer.parameters() if p.requires_grad]
    return [*output, *torch.autograd.grad(loss, leaves)]


def assert_near(got: list[Tensor], want: list[Tensor]) -> None:
    """Float32 values at 2e-5 of float64 ones, relative to the largest of each tensor."""
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        a, b = a.detach(), b.detach()
        assert float((a.double() - b).abs().max()) <= 2e-5 * max(1.0, float(b.abs().max()))


def assert_runs_like_torch(layer: nn.Module, twin: nn.Module, *args: Any, ran: str = "fused") -> None:
    """The twin's answers by a kernel are torch's in float64; shapes, types and strides are torch's in float32."""
    with record() as log:
        got = answers(twin, *map(fresh, args))
    assert [decision.ran for decision in log] == [ran], str(log[0])
    assert_near(got, answers(copy.deepcopy(layer).double(), *map(double, args)))
    theirs, ours = tensors(layer(*args)), tensors(twin(*args))
    for a, b in zip(theirs, ours, strict=True):
        assert (a.shape, a.dtype, a.requires_grad) == (b.shape, b.dtype, b.requires_grad)
        assert b.is_contiguous() or not a.is_contiguous()


def made(name: str, *args: Any, seed: int = 0, **options: Any) -> tuple[nn.Module, nn.Module]:
    """A layer of torch and its twin with the same weights."""
    torch.manual_seed(seed)
    layer = KINDS[name](*args, **options)
    return layer, twin_of(layer, *args, **options)


def state(layer: Any, rows: int | None, grad: bool = True) -> Any:
    """A random first state as torch takes it."""
    depth, middle = layer.num_layers * (1 + layer.bidirectional), () if rows is None else (rows,)
    widths = [layer.proj_size or layer.hidden_size, layer.hidden_size][: 1 + (layer.mode == "LSTM")]
    leaves = tuple(torch.randn(depth, *middle, width).requires_grad_(grad) for width in widths)
    return leaves if len(leaves) > 1 else leaves[0]


def batch(form: str, layer: Any, lengths: list[int]) -> Any:
    """An input of some form; rows of these lengths where it is packed, else all as long as the longest."""
    rows, steps = len(lengths), max(lengths)
    if form == "unbatched":
        return torch.randn(steps, layer.input_size, requires_grad=True)
    x = torch.randn(*((rows, steps) if layer.batch_first else (steps, rows)), layer.input_size)
    if form == "padded":
        return x.requires_grad_()
    ordered = sorted(lengths, reverse=True) if form == "sorted" else lengths
    packed = pack_padded_sequence(x, torch.tensor(ordered), layer.batch_first, enforce_sorted=form == "sorted")
    return packed._replace(data=packed.data.detach().requires_grad_())


def python_calls(function: Callable[[], Any]) -> int:
    """How many calls, of Python and of built-in functions, a function makes."""
    count = 0

    def watch(frame: Any, event: str, _: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


FORMS = ["padded", "packed", "sorted", "unbatched"]
LENGTHS = [4, 1, 19, 7, 7]


@pytest.mark.usefixtures("eagerly")
class TestAgainstTorch:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=["one", "two"])
    @pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
    @pytest.mark.parametrize("name", KINDS)
    def test_forms_depths_and_states(self, name: str, given: bool, options: dict, form: str) -> None:
        layer, twin = made(name, 3, 17, **options)
        x = batch(form, layer, LENGTHS)
        args = [state(layer, None if form == "unbatched" else len(LENGTHS))] if given else []
        assert_runs_like_torch(layer, twin, x, *args)
        if name == "LSTM" and form in ("packed", "sorted"):
            with use_backend("torch_lstm"):
                assert_runs_like_torch(layer, twin, x, *args, ran="torch_lstm")

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("name", ["GRU", "RNN"])
    def test_without_bias_and_batch_first(self, name: str, form: str) -> None:
        layer, twin = made(name, 5, 3, 2, bias=False, batch_first=True)
        assert_runs_like_torch(layer, twin, batch(form, layer, LENGTHS))

    def test_relu(self) -> None:
        layer, twin = made("RNN", 5, 9, bidirectional=True, nonlinearity="relu")
        assert_runs_like_torch(layer, twin, batch("packed", layer, LENGTHS))

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("given", [False, True], ids=["zeros", "given"])
    @pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "bias": False}])
    def test_projections(self, options: dict, given: bool, form: str) -> None:
        layer, twin = made("LSTM", 3, 33, proj_size=5, **options)
        args = [state(layer, None if form == "unbatched" else len(LENGTHS))] if given else []
        x = batch(form, layer, LENGTHS)
        for backend in ("fused", "torch_lstm"):
            with use_backend(backend):
                assert_runs_like_torch(layer, twin, x, *args, ran=backend)

    @pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [9, 9], [2, 1], [1] * 19 + [63]], ids=str)
    @pytest.mark.parametrize("name", KINDS)
    def test_odd_lengths(self, name: str, lengths: list[int]) -> None:
        layer, twin = made(name, 1, 1, bidirectional=True)
        x, hx = batch("packed", layer, lengths), state(layer, len(lengths))
        for backend in ("fused", "torch_lstm") if name == "LSTM" and len(set(lengths)) > 1 else ("fused",):
            with use_backend(backend):
                assert_runs_like_torch(layer, twin, x, hx, ran=backend)

    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    @pytest.mark.parametrize("name", KINDS)
    def test_torchs_own_table(self, name: str, training: bool) -> None:
        info, ran = TABLE[name], set()
        samples = info.module_inputs_func(
            info,
            device="cpu",
            dtype=torch.float32,
            requires_grad=True,
            training=training,
            with_packed_sequence=True,
        )
        assert len(samples) >= INPUTS[name]
        for sample in samples:
            built, args = sample.constructor_input, sample.forward_input.args
            layer = info.module_cls(*built.args, **built.kwargs).train(training)
            twin = twin_of(layer, *built.args, **built.kwargs)
            with record() as log:
                got = answers(twin, *map(fresh, args))
            ran.add(log[0].ran)
            assert_near(got, answers(copy.deepcopy(layer).double(), *map(double, args)))
        assert "fused" in ran

    @given(calls())
    @settings(max_examples=60, deadline=None)
    def test_any_call(self, call: tuple) -> None:
        layer, args, options, inputs = call
        with eager():
            got = answers(twin_of(layer, *args, **options), *map(fresh, inputs))
        assert_near(got, answers(copy.deepcopy(layer).double(), *map(double, inputs)))

    @pytest.mark.parametrize("share", [0.4, 1.0])
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("name", KINDS)
    def test_dropout_draws_torchs_mask(self, name: str, form: str, share: float) -> None:
        layer, twin = made(name, 3, 8, 3, bidirectional=True, dropout=share, batch_first=True)
        x, results = batch(form, layer, LENGTHS), []
        for one in (layer, twin):
            torch.manual_seed(7)
            results.append(answers(one, fresh(x)))
        assert_near(results[1], [tensor.double() for tensor in results[0]])
        assert not torch.equal(twin.train()(x)[0][0], twin.eval()(x)[0][0])

    def test_a_state_in_a_list(self) -> None:
        layer, twin = made("LSTM", 3, 5)
        x, hx = batch("padded", layer, [19]), list(state(layer, 1))
        torch.testing.assert_close(twin(x, hx)[0], layer(x, hx)[0])
        assert twin.explain(x, hx).endswith("fused ran")


@pytest.mark.usefixtures("eagerly")
class TestInTorchsWorld:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("name", KINDS)
    def test_half_precision_is_no_less_precise_than_torchs(self, name: str, dtype: torch.dtype) -> None:
        layer, twin = (one.to(dtype) for one in made(name, 3, 9, 2, bidirectional=True))
        x = batch("padded", layer, LENGTHS).detach().to(dtype)
        want, theirs, ours = (
            one(v) for one, v in ((copy.deepcopy(layer).double(), x.double()), (layer, x), (twin, x))
        )
        for a, b, c in zip(tensors(want), tensors(theirs), tensors(ours), strict=True):
            assert b.dtype == c.dtype == dtype
            assert (c.double() - a).abs().max() <= 1.1 * (b.double() - a).abs().max()
        ours[0].float().sum().backward()
        assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in twin.parameters())

    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("rows", [1, 3])
    @pytest.mark.parametrize("name", ["GRU", "RNN"])
    def test_outputs_may_be_changed_in_place(self, name: str, rows: int, batch_first: bool) -> None:
        layer, twin = made(name, 3, 5, batch_first=batch_first)
        x, results = batch("padded", layer, [19] * rows), []
        for one in (layer, twin):
            y, h = one(fresh(x))
            y.mul_(2), h.mul_(3)
            results.append(torch.autograd.grad((y.square().sum() + h.sum()), tuple(one.parameters())))
        assert_near(list(results[1]), [gradient.double() for gradient in results[0]])

    def test_nothing_given_is_changed(self) -> None:
        layer, twin = made("GRU", 3, 5, 2, bidirectional=True)
        x, hx = batch("padded", layer, LENGTHS), state(layer, len(LENGTHS))
        before = [x.detach().clone(), hx.detach().clone(), *[p.detach().clone() for p in twin.parameters()]]
        y, h = twin(x, hx)
        with torch.no_grad():
            y.zero_(), h.zero_()
        assert all(map(torch.equal, before, [x, hx, *twin.parameters()]))

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("name", KINDS)
    def test_gradients_of_gradients(self, name: str, form: str) -> None:
        layer, twin = made(name, 3, 5, 2, bidirectional=True)
        x, results = batch(form, layer, [1, 4]), []
        for one, own in ((copy.deepcopy(layer).double(), double(x)), (twin, fresh(x))):
            leaf = tensors(own)[0]
            (first,) = torch.autograd.grad(one(own)[0][0].square().sum(), leaf, create_graph=True)
            results.append([first, *torch.autograd.grad(first.square().sum(), tuple(one.parameters()))])
        assert_near(results[1], results[0])

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_without_gradients(self, mode: Callable) -> None:
        layer, twin = made("GRU", 3, 5, batch_first=True)
        x = batch("padded", layer, LENGTHS)
        with mode():
            y, h = twin(x)
            torch.testing.assert_close(y, layer(x)[0])
        assert not y.requires_grad
        assert not h.requires_grad

    def test_frozen_parameters(self) -> None:
        layer, twin = made("GRU", 3, 5, 2)
        for one in (layer, twin):
            one.requires_grad_(False)
            one.bias_hh_l1.requires_grad_()
        x = batch("packed", layer, LENGTHS)
        assert_runs_like_torch(layer, twin, x._replace(data=x.data.detach()))
        twin.requires_grad_(False)
        assert not twin(x._replace(data=x.data.detach()))[0].data.requires_grad

    def test_weights_that_something_else_computes(self) -> None:
        x, results = torch.randn(19, 2, 3), []
        for cls in (nn.GRU, dropin.GRU):
            torch.manual_seed(0)
            one = parametrizations.weight_norm(cls(3, 5), "weight_hh_l0")
            prune.l1_unstructured(one, "weight_ih_l0", 0.4)
            results.append([one(x)[0], *torch.autograd.grad(one(x)[0].square().sum(), tuple(one.parameters()))])
        assert_near(results[1], [tensor.double() for tensor in results[0]])
        assert dropin.Twin.explain(one, x).endswith("fused ran")

    def test_functional_call_and_replaced_weights(self) -> None:
        layer, twin = made("GRU", 3, 5)
        x, values = torch.randn(19, 2, 3), {name: 2 * value for name, value in layer.named_parameters()}
        want, got = (torch.func.functional_call(one, values, (x,))[0] for one in (layer, twin))
        torch.testing.assert_close(got, want)
        torch.testing.assert_close(twin(x)[0], layer(x)[0])
        for one in (layer, twin):
            one.weight_hh_l0 = nn.Parameter(values["weight_hh_l0"].detach())
        torch.testing.assert_close(twin(x)[0], layer(x)[0])

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_checkpointing(self, reentrant: bool) -> None:
        _, twin = made("GRU", 3, 5)
        x = torch.randn(19, 2, 3, requires_grad=True)
        want = torch.autograd.grad(twin(x)[0].square().sum(), x)[0]
        got = torch.autograd.grad if not reentrant else None
        y = checkpoint(lambda x: twin(x)[0], x, use_reentrant=reentrant)
        if got is not None:
            assert torch.equal(got(y.square().sum(), x)[0], want)
        else:
            y.square().sum().backward()
            assert torch.equal(x.grad, want)

    @pytest.mark.parametrize("name", KINDS)
    def test_training_goes_the_same_way(self, name: str) -> None:
        layer, twin = made(name, 3, 9, 2, bidirectional=True)
        x = batch("packed", layer, LENGTHS)
        for one in (layer, twin):
            optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
            for _ in range(5):
                optimizer.zero_grad()
                (pad_packed_sequence(one(x)[0])[0] - 0.3).square().mean().backward()
                optimizer.step()
        torch.testing.assert_close(list(twin.parameters()), list(layer.parameters()), atol=1e-6, rtol=1e-5)

    def test_packed_rows_keep_their_order(self) -> None:
        layer, twin = made("GRU", 3, 5, bidirectional=True)
        rows = [torch.randn(length, 3) for length in LENGTHS]
        packed = pack_sequence(rows, enforce_sorted=False)
        output, h = twin(packed)
        assert isinstance(output, PackedSequence)
        assert output.batch_sizes is packed.batch_sizes
        assert torch.equal(output.sorted_indices, packed.sorted_indices)
        padded, lengths = pad_packed_sequence(output)
        assert lengths.tolist() == LENGTHS
        for i, row in enumerate(rows):
            y, end = layer(row)
            torch.testing.assert_close(padded[: len(row), i], y)
            torch.testing.assert_close(h[:, i], end)

    def test_no_python_per_step(self) -> None:
        _, twin = made("GRU", 3, 5, 2, bidirectional=True)
        counts = []
        for steps in (400, 4000):
            x = batch("packed", twin, [steps, steps // 2, 3])
            twin(x)
            counts.append(python_calls(lambda x=x: twin(x)))
        assert counts[1] - counts[0] < 1800, "not even half a call a step more"

    def test_unfused_is_torch_again(self) -> None:
        model, x = nn.ModuleList([nn.GRU(3, 5), nn.RNN(3, 5, bidirectional=True)]), torch.randn(40, 2, 3)
        before = [one(x) for one in model]
        dropin.fuse(model, None)
        for one in model:
            assert one.explain(x).endswith("fused ran")
            one(x)[0].sum().backward()
        dropin.unfuse(model, None)
        for one, pair in zip(model, before, strict=True):
            assert all(map(torch.equal, one(x), pair))

    def test_deepcopy_and_state_dict(self) -> None:
        _, twin = made("GRU", 3, 5)
        x = torch.randn(19, 2, 3)
        want = twin(x)[0]
        other = dropin.GRU(3, 5)
        other.load_state_dict(twin.state_dict())
        for one in (copy.deepcopy(twin), other):
            assert torch.equal(one(x)[0], want)
            assert vars(one).keys() == vars(nn.GRU(3, 5)).keys()
        with torch.no_grad():
            other.weight_hh_l0.mul_(2)
        assert not torch.equal(other(x)[0], want)

    @pytest.mark.filterwarnings("ignore:The tensor attributes")  # of torch's _flat_weights, twins or not
    def test_compile_and_export_take_torchs_path(self) -> None:
        layer, twin = made("GRU", 3, 5, batch_first=True)
        x = torch.randn(2, 19, 3)
        with record() as log:
            torch.testing.assert_close(torch.compile(twin, backend="eager")(x)[0], layer(x)[0])
        assert not log
        exported = torch.export.export(twin, (x,), dynamic_shapes=({0: torch.export.Dim("B")},))
        more = torch.randn(7, 19, 3)
        torch.testing.assert_close(exported.module()(more)[0], layer(more)[0])
