"""How near predicted frames are to those that came, at each step, beside two rules that learn nothing.

copy     the last known frame again and again
linear   each pixel goes on as in the last two known frames, as far as black and white: clamp(x_P + q (x_P - x_P-1))
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from recurra.heads.frame_scores import frame_scores

__all__ = ["NAMES", "RULES", "Scored", "copied", "extrapolated", "scored", "steps", "summary", "table", "total"]

NAMES = ("mse", "mae", "psnr", "ssim")
BETTER = {"mse": min, "mae": min, "psnr": max, "ssim": max}


class Scored(NamedTuple):
    """Sums over clips: for each who predicts ("" is the network) and each score its value at each step ``(Q,)``.

    clips  how many
    frames, seconds  that were read, decoded and predicted, and how long it took
    """

    sums: dict[str, dict[str, Tensor]]
    clips: int
    frames: int
    seconds: float


def copied(known: Tensor, ahead: int) -> Tensor:
    """``(B, Q, C, M, N)``: the last of the frames ``(B, P, C, M, N)``."""
    return known[:, -1:].expand(-1, ahead, -1, -1, -1)


def extrapolated(known: Tensor, ahead: int) -> Tensor:
    """``(B, Q, C, M, N)``: every pixel goes on as in the last two frames, from 0 to 1."""
    steps = torch.arange(1, ahead + 1, device=known.device, dtype=known.dtype).view(-1, 1, 1, 1)
    return (known[:, -1:] + steps * (known[:, -1:] - known[:, -2:-1])).clamp(0, 1)


RULES: dict[str, Callable[[Tensor, int], Tensor]] = {"copy": copied, "linear": extrapolated}


def scored(found: Tensor, known: Tensor, came: Tensor, seconds: float) -> Scored:
    """The sums of one batch: frames ``found (B, Q, C, M, N)`` after ``known``, and those that ``came``."""
    count = came.shape[1]
    who = {"": found} | {name: rule(known, count) for name, rule in RULES.items()}
    sums = {
        name: {score: values.double().sum(0) for score, values in frame_scores(frames, came).items()}
        for name, frames in who.items()
    }
    return Scored(sums, len(came), len(came) * (known.shape[1] + count), seconds)


def total(parts: Iterable[Scored]) -> Scored:
    """All batches together."""
    first, *others = parts
    for other in others:
        sums = {
            who: {name: values + other.sums[who][name] for name, values in scores.items()}
            for who, scores in first.sums.items()
        }
        first = Scored(sums, first.clips + other.clips, first.frames + other.frames, first.seconds + other.seconds)
    return first


def summary(parts: Iterable[Scored]) -> dict[str, float]:
    """Means over all clips and steps, the network's MSE first; and frames a second."""
    found = total(parts)
    means = {
        f"{who}_{name}".strip("_"): float(values.mean()) / found.clips
        for who, scores in found.sums.items()
        for name, values in scores.items()
    }
    return means | {"frames_per_second": found.frames / max(found.seconds, 1e-9)}


def steps(parts: Iterable[Scored]) -> dict[str, float]:
    """The same at each step, such as ``copy_mse_3``."""
    found = total(parts)
    return {
        f"{who}_{name}_{step}".strip("_"): value / found.clips
        for who, scores in found.sums.items()
        for name, values in scores.items()
        for step, value in enumerate(values.tolist(), 1)
    }


def table(measured: Mapping[str, float]) -> list[str]:
    """A row for the network and each rule, means first, then each step; the best of each has a star."""
    count = sum(name.startswith("mse_") for name in measured)
    places = ["", *(f"_{step}" for step in range(1, count + 1) if count > 1)]
    lines = [f"{'':<24}" + "".join(f"{name.upper():>9} " for name in NAMES).rstrip()]
    for place in places:
        lines += _block(measured, place)
    speed = measured.get("frames_per_second", 0.0)
    return [*lines, f"{speed:.0f} frames a second, decoding included"]


def _block(measured: Mapping[str, float], place: str) -> list[str]:
    when = f"step {place[1:]}" if place else "all steps"
    best = {
        name: BETTER[name](measured[f"{who}{name}{place}"] for who in ("", *(f"{rule}_" for rule in RULES)))
        for name in NAMES
    }
    titles = {"": f"{when}, network", **{f"{rule}_": f"{'':<{len(when)}}  {rule}" for rule in RULES}}
    return [
        f"{title:<24}"
        + "".join(_cell(measured[f"{who}{name}{place}"], name, best[name]) for name in NAMES).rstrip()
        for who, title in titles.items()
    ]


def _cell(value: float, name: str, best: float) -> str:
    shown = f"{value:.2f}" if name == "psnr" else f"{value:.4f}" if name == "ssim" else f"{value:.5f}"
    return f"{shown + ('*' if value == best else ' '):>10}"
