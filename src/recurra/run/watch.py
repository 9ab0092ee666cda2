"""Trouble in training, told while it is on its way: each kind once, with its numbers.

What is looked at costs nothing that training has not computed anyway: the loss and the gradient norm of each step,
and now and then the gradients of the layers before the optimizer uses them. Saturation is looked at on validation.
"""

import inspect
import math
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from recurra import tree
from recurra.diagnose.passage import cells, undisturbed
from recurra.diagnose.saturation import saturation, squashed
from recurra.errors import ConfigError
from recurra.layers import Gated

__all__ = ["Trouble", "Watch"]

SPIKE = 100.0  # times the running median: not the noise of a batch any more
CLIPPED, HARD = 0.95, 10.0  # share of the last steps that were clipped, to less than a tenth
RISE = 20  # steps whose median is the loss of now
SILENT = 1e-4  # of the other layers' gradient
FLAT = 0.9  # share of the values of a tanh
ROWS, STEPS = 4, 64  # of a batch, to look at saturation


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong: what, such as "exploding", at which step, and a sentence with its numbers."""

    what: str
    step: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """A line of metrics.jsonl."""
        values = asdict(self)
        return {"step": values.pop("step"), "warning": values}


class Watch:
    """The memory of a run's last steps, and what has been told.

    exploding   a gradient norm over 100 times the median of the last steps
    clipping    19 of 20 steps clipped to under a tenth of their gradient
    vanishing   the gradient of a recurrent layer under 1e-4 of the rest of the network's, at 10 looks in a row
    diverging   the median loss of 20 steps higher above the best than training ever began
    saturated   nine tenths of the values of a tanh beyond 0.95

    clip   limit of the gradient norm, 0: none
    steps  of memory; no norm is called large before half of them were seen
    looks  at the layers in a row before one is called silent
    """

    def __init__(self, clip: float, steps: int = 200, looks: int = 10) -> None:
        self.clip, self.looks = clip, looks
        self.norms: deque[float] = deque(maxlen=steps)
        self.losses: deque[float] = deque(maxlen=RISE)
        self.first = self.best = math.nan
        self.silent: dict[str, int] = {}
        self.layers: dict[str, list[nn.Parameter]] | None = None
        self.told: set[str] = set()
        self.news: list[Trouble] = []

    def step(self, step: int, loss: float, norm: float) -> None:
        """The loss (a mean) and the gradient norm (before clipping) of one step."""
        self._note(self._exploding(step, norm))
        self._note(self._clipping(step, norm))
        self._note(self._diverging(step, loss))
        self.norms.append(norm)

    def look(self, step: int, network: nn.Module) -> None:
        """The gradients of the layers, before the optimizer clears them; a few numbers come from the device."""
        if "vanishing" in self.told:
            return
        self.layers = _layers(network) if self.layers is None else self.layers
        if len(self.layers) < 2:
            return
        squares = torch.stack([_square(parameters) for parameters in self.layers.values()])
        norms = dict(zip(self.layers, squares.sqrt().tolist(), strict=True))
        for name in norms:
            self._note(self._vanishing(step, name, norms) if name != REST else None)

    def validate(self, step: int, network: nn.Module, run: Callable[[nn.Module], Any]) -> None:
        """The gates, while ``run(network)`` reads a batch; not sigmoids, which may be shut on purpose."""
        if "saturated" not in self.told and any(isinstance(module, Gated) for module in network.modules()):
            for name, (gate, share) in _flattest(network, run).items():
                self._note(_saturated(step, name, gate, share))

    def take(self) -> list[Trouble]:
        """What there is to tell, once."""
        news, self.news = self.news, []
        return news

    def _note(self, trouble: Trouble | None) -> None:
        if trouble is not None and trouble.what not in self.told:
            self.told.add(trouble.what)
            self.news.append(trouble)

    def _exploding(self, step: int, norm: float) -> Trouble | None:
        if "exploding" in self.told or 2 * len(self.norms) < (self.norms.maxlen or 0):
            return None
        if norm <= SPIKE * min(self.norms):  # a median is not needed
            return None
        usual = statistics.median(self.norms)
        if not norm > SPIKE * usual > 0:
            return None
        return Trouble(
            "exploding",
            step,
            f"gradients explode: a norm of {norm:.3g} at step {step}, {norm / usual:.0f} times the median "
            f"{usual:.3g} of the last {len(self.norms)} steps; try fit.clip = {2 * usual:.2g} or a lower "
            "fit.learning_rate",
        )

    def _clipping(self, step: int, norm: float) -> Trouble | None:
        full = len(self.norms) == self.norms.maxlen
        if not self.clip or not full or "clipping" in self.told or norm < HARD * self.clip:
            return None
        clipped = sum(value > HARD * self.clip for value in self.norms) / len(self.norms)
        if clipped < CLIPPED:
            return None
        usual = statistics.median(self.norms)
        return Trouble(
            "clipping",
            step,
            f"almost every step is clipped hard: {clipped:.0%} of the last {len(self.norms)} gradients were over "
            f"{HARD:.0f} times fit.clip = {self.clip:g}, their median is {usual:.3g}; try a lower "
            f"fit.learning_rate, or fit.clip = {usual:.2g} if that is their natural size",
        )

    def _diverging(self, step: int, loss: float) -> Trouble | None:
        self.losses.append(loss)
        if len(self.losses) < RISE or step % 5:
            return None
        now = statistics.median(self.losses)
        self.first = now if math.isnan(self.first) else self.first
        self.best = min(now, self.best) if not math.isnan(self.best) else now
        limit = self.best + max(1.5 * (self.first - self.best), 0.5 * abs(self.first))
        if now <= limit:
            return None
        return Trouble(
            "diverging",
            step,
            f"training diverges: the median loss of the last {RISE} steps is {now:.3g} at step {step}, it began at "
            f"{self.first:.3g} and was {self.best:.3g} at best; try a lower fit.learning_rate or a longer "
            "fit.warmup",
        )

    def _vanishing(self, step: int, name: str, norms: dict[str, float]) -> Trouble | None:
        rest = max(value for other, value in norms.items() if other != name)
        quiet = norms[name] < SILENT * rest
        self.silent[name] = self.silent.get(name, 0) + 1 if quiet else 0
        if self.silent[name] < self.looks:
            return None
        return Trouble(
            "vanishing",
            step,
            f"{name} learns almost nothing: its gradient norm is {norms[name]:.2g} at step {step}, the rest of the "
            f"network has {rest:.2g}, for {self.looks} looks in a row; recurra diagnose gradients RUN shows where "
            "gradients vanish",
        )


def _saturated(step: int, name: str, gate: str, share: float) -> Trouble | None:
    if share <= FLAT:
        return None
    return Trouble(
        "saturated",
        step,
        f"{name} is saturated at step {step}: {share:.0%} of the values of {gate} are beyond 0.95, where tanh is "
        "flat; try a lower fit.learning_rate, smaller inputs, or a layer with layer normalisation",
    )


REST = "the rest"


def _layers(network: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of each recurrent layer, and all others; none if there is no recurrent layer."""
    try:
        found = cells(network)
    except ConfigError:  # a network of another kind
        return {}
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    layers = {
        f"{place} {type(layer).__name__}".strip(): [p for n, p in named if not place or n.startswith(f"{place}.")]
        for place, layer in found.items()
    }
    taken = {id(p) for parameters in layers.values() for p in parameters}
    layers[REST] = [p for _, p in named if id(p) not in taken]
    return {name: parameters for name, parameters in layers.items() if parameters}


def _square(parameters: list[nn.Parameter]) -> Tensor:
    """The squared norm of a layer's gradient, on its device."""
    norms = [p.grad.detach().norm().float() for p in parameters if p.grad is not None]
    return torch.stack(norms).square().sum() if norms else torch.zeros((), device=parameters[0].device)


@torch.no_grad()
def _flattest(network: nn.Module, run: Callable[[nn.Module], Any]) -> dict[str, tuple[str, float]]:
    """The tanh of each gated layer that is flattest, and its share, by the layer's name."""
    seen: dict[str, tuple[Gated, Any]] = {}

    def see(layer: Gated, place: str) -> Callable:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            bound = inspect.signature(module.forward).bind(*args, **kwargs).arguments
            seen[f"{place} {type(layer).__name__}".strip()] = (layer, bound)

        return hook

    gated = [(place, layer) for place, layer in network.named_modules() if isinstance(layer, Gated)]
    handles = [layer.register_forward_pre_hook(see(layer, place), with_kwargs=True) for place, layer in gated]
    try:
        with undisturbed(network):
            run(network)
            found = {name: _tanh(layer, bound) for name, (layer, bound) in seen.items()}
    finally:
        for handle in handles:
            handle.remove()
    return {name: max(shares, key=lambda pair: pair[1]) for name, shares in found.items() if shares}


def _tanh(layer: Gated, given: Any) -> list[tuple[str, float]]:
    """The share of flat values of each tanh of one layer, on a few rows and steps."""
    # In mixed precision inputs are 16-bit; the weights, with which the layer is walked again, are not.
    exact = next(layer.parameters()).dtype
    x, state, lengths = given["x"][:ROWS, :STEPS].to(exact), given.get("state"), given.get("lengths")
    if state is not None:
        state = tree.map(lambda leaf: leaf[:ROWS].to(exact) if leaf.is_floating_point() else leaf[:ROWS], state)
    lengths = None if lengths is None else torch.as_tensor(lengths)[:ROWS].clamp(max=x.shape[1])
    kinds = [name for name, kind in squashed(layer).items() if kind == "tanh"]
    shares = saturation(layer, x, state, lengths) or {}
    return [(name, shares[name]) for name in kinds if name in shares]
