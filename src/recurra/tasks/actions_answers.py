"""What a recognizer of actions says: windows with their chances, and from them what was done when."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from recurra import files
from recurra.errors import DataError

__all__ = ["Seen", "joined", "told", "write_actions"]


class Seen(NamedTuple):
    """What was seen in some frames.

    begin, end   numbers of the frames, from the first to the one after the last
    chances      (K,) probabilities of the labels
    """

    begin: int
    end: int
    chances: Tensor


def joined(logits: Tensor, rows: Tensor) -> Tensor:
    """Logits ``(N, K)`` of windows as those of their examples, by ``rows (N,)``: log of the mean probabilities."""
    count = int(rows.max()) + 1 if len(rows) else 0
    chances = torch.zeros(count, logits.shape[1], dtype=torch.float64).index_add(
        0, rows, logits.double().softmax(1)
    )
    return (chances / rows.bincount(minlength=count)[:, None]).log().float()


def told(seen: Sequence[Seen], labels: Sequence[str], rate: float, name: str = "") -> dict[str, Any]:
    """The answer for people and programs, of all windows of a film at ``rate`` frames a second.

        {"text", "label", "probability", "probabilities", "seconds",
         "windows": [{"begin", "end", "label", "probability"}],
         "actions": [{"begin", "end", "label", "probability"}], "shown"}

    The label is that of the mean over the windows. Actions are what was done one after the other: at each moment
    the label that is likeliest in the mean of the windows there.
    """
    mean = torch.stack([one.chances for one in seen]).mean(0)
    label, chance = _best(mean, labels)
    actions = _runs(seen, labels, rate)
    one = [f"{label}\t{chance:.4f}"]
    many = [f"{run['begin']:.2f}-{run['end']:.2f} {run['label']} {run['probability']:.2f}" for run in actions]
    return ({"text": name} if name else {}) | {
        "label": label,
        "probability": chance,
        "probabilities": dict(zip(labels, mean.tolist(), strict=True)),
        "seconds": max(one.end for one in seen) / rate,
        "windows": [_span(one.begin, one.end, one.chances, labels, rate) for one in seen],
        "actions": actions,
        "shown": "  ".join(one if len(seen) == 1 else many),
    }


def _best(chances: Tensor, labels: Sequence[str]) -> tuple[str, float]:
    best = int(chances.argmax())
    return labels[best], float(chances[best])


def _span(begin: int, end: int, chances: Tensor, labels: Sequence[str], rate: float) -> dict[str, Any]:
    label, chance = _best(chances, labels)
    return {"begin": begin / rate, "end": end / rate, "label": label, "probability": chance}


def _runs(seen: Sequence[Seen], labels: Sequence[str], rate: float) -> list[dict[str, Any]]:
    """Stretches in which the mean over the windows there has one likeliest label."""
    places = sorted({place for one in seen for place in (one.begin, one.end)})
    runs: list[tuple[int, int, Tensor]] = []
    for begin, end in pairwise(places):
        here = torch.stack([one.chances for one in seen if one.begin <= begin and end <= one.end]).mean(0)
        if runs and int(runs[-1][2].argmax()) == int(here.argmax()):
            before = runs.pop()
            share = (end - begin) / (end - before[0])
            runs.append((before[0], end, before[2] * (1 - share) + here * share))
        else:
            runs.append((begin, end, here))
    return [_span(*run, labels, rate) for run in runs]


def write_actions(path: str | Path, answers: Iterable[dict[str, Any]]) -> None:
    """Write what was done, a film a line, such as ``walk stop wave``: a language model learns what comes next.

    answers  those of `ActionRecognizer.predict`, or lines of ``recurra predict --json`` read as JSON

    Raises DataError for a label with white space in it, which would be read as several words.
    """
    lines = []
    for answer in answers:
        words = [action["label"] for action in answer["actions"]]
        spaced = next((word for word in words if len(word.split()) != 1), None)
        if spaced is not None:
            raise DataError(f"cannot write the action {spaced!r} as one word; expected a label without white space")
        lines.append(" ".join(words))
    files.write_text(Path(path), "".join(f"{line}\n" for line in lines))
