"""Matrix memories: the definition against brute force, chunks against the definition, hard gates, 16 bits."""

import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import elu, logsigmoid, normalize

from recurra import tree
from recurra.kernels import chunkwise, flash_memory
from recurra.kernels.memory import STATES, Call, Inputs, advance, define, memory, precise, reset

RULES = list(STATES)
GATED = ["delta", "mlstm"]  # rules with a gate of writing
Run = Callable[[Call], tuple[Tensor, Any]]


def make(
    rule: Any, time: int, batch: int = 3, decay: bool = True, logits: float = 1.0, positive: bool = False
) -> Call:
    """A call in float64 with 2 heads of 4 x 5, from a state with a past; every tensor wants a gradient."""
    generator = torch.Generator().manual_seed(time)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    q, k, v = draw(batch, time, 2, 4), draw(batch, time, 2, 4), draw(batch, time, 2, 5)
    if rule == "attention" or positive:
        q, k = elu(q) + 1, elu(k) + 1
    if rule == "delta":
        k = normalize(k, dim=-1)
    fade = logsigmoid(logits * (draw(batch, time, 2) + 1)) if decay else None
    write = {"delta": draw(batch, time, 2).sigmoid(), "mlstm": logits * draw(batch, time, 2)}.get(rule)
    state = tree.map(lambda leaf: draw(*leaf.shape), reset(rule, batch, 2, 5, 4, q))
    if positive and "n" in state._fields:
        state = state._replace(n=state.n.abs())
    return cast(Call(rule, Inputs(q, k, v, fade, write), state), torch.float64)


def cast(call: Call, dtype: torch.dtype) -> Call:
    """The same call in another type, its tensors without a past."""
    leaf = lambda value, to=dtype: None if value is None else value.detach().to(to).requires_grad_()
    state = tree.map(lambda value: leaf(value, precise(dtype)), call.state)
    return replace(call, inputs=Inputs(*map(leaf, call.inputs)), state=state)


def everything(run: Run, call: Call, fill: float = 0.0) -> list[Tensor]:
    """y, the last state, and the gradients of all inputs and of the state before; ``fill`` for y's padding."""
    y, state = run(call)
    ends = [y, *state]
    generator = torch.Generator().manual_seed(1)
    flows = [torch.randn(end.shape, generator=generator, dtype=torch.float64) for end in ends]
    flows = [flow.to(end.dtype) for flow, end in zip(flows, ends, strict=True)]
    if call.lengths is not None:
        for row, length in enumerate(call.lengths.tolist()):
            flows[0][row, length:] = fill
    leaves = [leaf for leaf in (*call.inputs, *call.state) if leaf is not None]
    found = torch.autograd.grad(ends, leaves, flows, allow_unused=True)
    return [
        *(end.detach() for end in ends),
        *(torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)),
    ]


def same(got: list[Tensor], want: list[Tensor], tolerance: float = 1e-10) -> None:
    for a, b in zip(got, want, strict=True):
        a, b = a.detach(), b.detach()
        assert a.shape == b.shape
        if b.numel():
            assert (a.double() - b.double()).abs().max() <= tolerance * max(1.0, float(b.abs().max()))


# Brute force.


def sum_over_the_past(call: Call) -> np.ndarray:
    """y of the rules that add, as a sum over all pairs of steps, O(T * T), from an empty memory."""
    q, k, v, decay, write = (None if x is None else x.detach().numpy() for x in call.inputs)
    batch, time, heads, _ = k.shape
    y = np.zeros(v.shape)
    for b, t, h in np.ndindex(batch, time, heads):
        top, bottom = np.zeros(v.shape[-1]), 0.0
        for s in range(t + 1):
            weight = np.exp(decay[b, s + 1 : t + 1, h].sum()) * np.dot(q[b, t, h], k[b, s, h])
            weight *= np.exp(write[b, s, h]) if call.rule == "mlstm" else 1.0
            top, bottom = top + weight * v[b, s, h], bottom + weight
        y[b, t, h] = top / {"linear": 1.0, "attention": bottom + 1e-6, "mlstm": max(abs(bottom), 1.0)}[call.rule]
    return y


@pytest.mark.parametrize("rule", ["linear", "attention", "mlstm"])
@pytest.mark.parametrize("run", [define, chunkwise.run])
def test_adding_rules_are_sums_over_the_past(rule: Any, run: Run) -> None:
    call = make(rule, 11)
    call = replace(call, state=tree.map(torch.zeros_like, call.state), chunk=4)
    np.testing.assert_allclose(run(call)[0].detach().numpy(), sum_over_the_past(call), atol=1e-12)


@pytest.mark.parametrize("run", [define, chunkwise.run])
def test_delta_rule_is_a_product_of_matrices(run: Run) -> None:
    call = replace(make("delta", 11), chunk=4)
    q, k, v, decay, b = (x.detach().numpy() for x in call.inputs if x is not None)
    S = call.state.S.detach().numpy().copy()
    want = np.zeros(v.shape)
    for row, t, h in np.ndindex(3, 11, 2):
        key = k[row, t, h][:, None]
        move = np.exp(decay[row, t, h]) * (np.eye(4) - b[row, t, h] * key @ key.T)
        S[row, h] = S[row, h] @ move + b[row, t, h] * v[row, t, h][:, None] @ key.T
        want[row, t, h] = S[row, h] @ q[row, t, h]
    y, state = run(call)
    np.testing.assert_allclose(y.detach().numpy(), want, atol=1e-12)
    np.testing.assert_allclose(state.S.detach().numpy(), S, atol=1e-12)


def test_a_memory_holds_what_was_written() -> None:
    """The delta rule replaces the value of a key, the others mix it with the old one."""
    key, other = torch.eye(4)[:2]
    first, second, third = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
    k, v = torch.stack([key, other, key])[None, :, None], torch.stack([first, third, second])[None, :, None]
    ones = torch.ones(1, 3, 1)
    answers = {}
    for rule, write in (("delta", ones), ("attention", None), ("linear", None)):
        start = reset(rule, 1, 1, 2, 4, k)  # type: ignore[arg-type]
        _, state = memory(Call(rule, Inputs(k, k, v, None, write), start))  # type: ignore[arg-type]
        answers[rule] = [state.S[0, 0] @ q for q in (key, other)]
    torch.testing.assert_close(answers["delta"], [second, third])
    torch.testing.assert_close(answers["linear"], [first + second, third])
    torch.testing.assert_close(answers["attention"], [first + second, third])
    n = torch.tensor([2.0, 1.0])  # by which attention divides: a mean
    torch.testing.assert_close(answers["attention"][0] / n[0], torch.tensor([0.5, 0.5]))


# Chunks.


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decay", [True, False])
@pytest.mark.parametrize(("time", "chunk"), [(0, 8), (1, 8), (7, 1), (33, 8), (130, 64)])
def test_chunks_are_the_definition(rule: Any, decay: bool, time: int, chunk: int) -> None:
    for lengths in (None, torch.tensor([0, time, time // 2])):
        call = replace(make(rule, time, decay=decay), lengths=lengths, chunk=chunk)
        same(everything(chunkwise.run, call), everything(define, call))


@pytest.mark.parametrize("rule", RULES)
def test_steps_are_the_definition(rule: Any) -> None:
    call = make(rule, 5)
    state, outputs = call.state, []
    for t in range(5):
        y, state = advance(rule, call.inputs.at(t), state)
        outputs.append(y)
    want, last = define(call)
    same([torch.stack(outputs, 1), *state], [want, *last], 0.0)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_of_chunks_are_slopes(rule: Any) -> None:
    call = replace(make(rule, 5, batch=2), lengths=torch.tensor([5, 2]), chunk=2)
    leaves = [leaf for leaf in (*call.inputs, *call.state) if leaf is not None]

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        rest = iter(given)
        inputs = Inputs(*(None if value is None else next(rest) for value in call.inputs))  # type: ignore[arg-type]
        y, state = chunkwise.run(replace(call, inputs=inputs, state=tree.map(lambda _: next(rest), call.state)))
        return y, *state

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("run", [define, chunkwise.run])
def test_padding_is_never_read(rule: Any, run: Run) -> None:
    lengths = torch.tensor([0, 19, 7])
    call = replace(make(rule, 19), lengths=lengths, chunk=8)
    want = everything(run, call)
    padding = torch.arange(19) >= lengths[:, None]
    for fill in (torch.nan, torch.inf):
        poisoned = [
            None if x is None else x.detach().masked_fill(padding.view(3, 19, *[1] * (x.dim() - 2)), fill)
            for x in call.inputs
        ]
        found = everything(run, cast(replace(call, inputs=Inputs(*poisoned)), torch.float64), fill)
        same(found, want)
        assert not found[0][padding].any()
        flows = found[1 + len(call.state) :][: sum(x is not None for x in call.inputs)]
        assert not any(flow[padding].any() for flow in flows)


# Hard gates and few bits.


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("run", [define, chunkwise.run])
def test_saturated_gates_over_long_sequences_in_float32(rule: Any, run: Run) -> None:
    time = 4096 if run is chunkwise.run else 512
    for logits in (30.0, -30.0):
        call = cast(make(rule, time, batch=1, logits=logits, positive=rule == "mlstm"), torch.float32)
        got, want = everything(run, call), everything(chunkwise.run, cast(call, torch.float64))
        assert all(value.isfinite().all() for value in got)
        same(got, want, 2e-5)


@pytest.mark.parametrize("run", [define, chunkwise.run])
def test_rare_hard_resets_do_not_cost_digits(run: Run) -> None:
    """After a decay of exp(-1000) what comes later is as exact as before: sums of logarithms have 64 bits."""
    call = cast(make("linear", 200), torch.float32)
    decay = torch.full((3, 200, 2), -1e-3)
    decay[:, ::20] = -1000.0
    call = replace(call, inputs=call.inputs._replace(decay=decay.requires_grad_()), chunk=64)
    same(everything(run, call), everything(define, cast(call, torch.float64)), 3e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("run", [define, chunkwise.run])
def test_a_decay_of_zero_forgets_everything(rule: Any, run: Run) -> None:
    call = make(rule, 9)
    assert call.inputs.decay is not None
    decay = call.inputs.decay.detach().clone()
    decay[:, 5] = -torch.inf
    call = replace(call, inputs=call.inputs._replace(decay=decay.requires_grad_()), chunk=4)
    late = Inputs(*(None if x is None else x[:, 5:] for x in call.inputs))  # type: ignore[arg-type]
    empty = replace(call, inputs=late, state=tree.map(torch.zeros_like, call.state))
    same([run(call)[0][:, 5:]], [define(empty)[0]], 1e-9)
    assert all(value.isfinite().all() for value in everything(run, call))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("run", [define, chunkwise.run])
def test_input_gates_of_exp_40_in_16_bits(dtype: torch.dtype, run: Run) -> None:
    call = make("mlstm", 70, positive=True)
    assert call.inputs.write is not None
    write = call.inputs.write.detach().sign() * 40  # exp(40) is 2e17, the largest float16 is 65504
    call = cast(replace(call, inputs=call.inputs._replace(write=write), chunk=16), dtype)
    exact = cast(call, torch.float64)
    got, want = everything(run, call), everything(define, exact)
    assert got[0].dtype == dtype
    assert {leaf.dtype for leaf in run(call)[1]} == {torch.float32}
    assert all(value.isfinite().all() for value in got)
    step = torch.finfo(dtype).eps
    same(got[:1], want[:1], step)
    same(got, want, 4 * step)


@pytest.mark.parametrize("rule", RULES)
def test_sums_stay_in_float32_under_autocast(rule: Any) -> None:
    call = cast(replace(make(rule, 40), chunk=16), torch.float32)
    for run in (define, chunkwise.run):
        want = run(call)[0]
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(run(call)[0], want)


@pytest.mark.filterwarnings("ignore")  # of torch's own, while it compiles
@pytest.mark.parametrize("rule", RULES)
def test_compiled_in_one_graph(rule: Any) -> None:
    torch._dynamo.reset()
    call = replace(make(rule, 20), chunk=8)

    def run(inputs: Inputs, state: Any) -> tuple[Tensor, Any]:
        return memory(Call(rule, inputs, state, None, 8))

    y, state = torch.compile(run, fullgraph=True, backend="eager")(call.inputs, call.state)
    want, last = define(call)
    same([y, *state], [want, *last])


# The choice.


def test_chunks_run_and_the_others_say_why_not() -> None:
    call = make("delta", 5)
    variant, refused = memory.choose(call)
    assert variant.name == "chunkwise"
    assert refused == {"flash-linear-attention": "flash-linear-attention runs on CUDA, and q is on cpu"}
    assert str(replace(call, lengths=torch.tensor([5, 1, 0]))) == "delta memory (2 x 5 x 4) on B=3, T=5, ragged"


def on_cuda(shape: tuple[int, ...] = (2, 8, 2, 4), dtype: torch.dtype = torch.bfloat16) -> Any:
    return SimpleNamespace(device=torch.device("cuda"), dtype=dtype, shape=torch.Size(shape))


@pytest.mark.parametrize(
    ("rule", "q", "installed", "reason"),
    [
        ("delta", on_cuda(), False, "is not installed"),
        ("mlstm", on_cuda(), True, "no kernel with mLSTM's"),
        ("delta", on_cuda(dtype=torch.float32), True, "for float16 and bfloat16"),
        ("delta", on_cuda((2, 1, 2, 4)), True, "T=1 < 2"),
        ("linear", on_cuda((2, 8, 2, 512)), True, "at most 256 numbers, not 512"),
        ("delta", on_cuda(), True, ""),
    ],
)
def test_flash_says_why_it_refuses(
    rule: Any, q: Any, installed: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flash_memory, "INSTALLED", installed)
    found = flash_memory.accepts(Call(rule, Inputs(q, q, q), None))
    assert reason in found
    assert bool(found) == bool(reason)


class Flash:
    """A stand-in for flash-linear-attention: its signatures, its layout, our definition."""

    def __init__(self) -> None:
        self.types: set[torch.dtype] = set()

    def run(self, rule: Any, q: Tensor, k: Tensor, v: Tensor, g: Any, write: Any, options: dict) -> Any:
        assert options["output_final_state"]
        assert options["scale"] == 1.0
        self.types = {q.dtype, k.dtype, v.dtype}
        start = options["initial_state"]
        assert start.shape == (len(q), q.shape[2], q.shape[3], v.shape[3])  # keys first
        assert start.is_contiguous()
        assert g is None or g.dtype == torch.float32
        y, state = define(Call(rule, Inputs(q, k, v, g, write), tree.State(S=start.mT)))
        return y, state.S.mT

    def chunk_simple_gla(
        self, q, k, v, g=None, g_gamma=None, scale=None, initial_state=None, output_final_state=False
    ):
        options = {"scale": scale, "initial_state": initial_state, "output_final_state": output_final_state}
        return self.run("linear", q, k, v, g, None, options)

    def chunk_gated_delta_rule(self, q, k, v, g, beta, scale=None, initial_state=None, output_final_state=False):
        options = {"scale": scale, "initial_state": initial_state, "output_final_state": output_final_state}
        return self.run("delta", q, k, v, g, beta, options)


@pytest.mark.parametrize("rule", ["linear", "attention", "delta"])
@pytest.mark.parametrize("decay", [True, False])
def test_flash_gets_what_it_expects(rule: Any, decay: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in: Any = Flash()
    for name in ("fla", "fla.ops", "fla.ops.simple_gla", "fla.ops.gated_delta_rule"):
        monkeypatch.setitem(sys.modules, name, stand_in)
    for lengths in (None, torch.tensor([0, 19, 7])):
        call = cast(replace(make(rule, 19, decay=decay), lengths=lengths), torch.bfloat16)
        (y, state), (want, last) = flash_memory.run(call), define(call)
        assert stand_in.types == {torch.bfloat16}
        assert y.dtype == torch.bfloat16
        assert {leaf.dtype for leaf in state} == {torch.float32}
        same([y, *state], [want, *last], 0.02 if rule == "attention" else 1e-2)
        if lengths is not None:
            assert not y[0].any()
