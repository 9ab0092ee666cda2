"""A speech recogniser without learning: the text of the recording that sounds most alike, by dynamic time warping.

Sakoe and Chiba 1978. Every model for a closed list of sentences has to beat it.

    cost(i, j) = |q_i - r_j| + min(cost(i - 1, j), cost(i, j - 1), cost(i - 1, j - 1))
    distance(q, r) = cost(I, J) / (I + J)        q (I, F), r (J, F) are frames of features

The warping is that of dtaidistance, whose loops are in C; it comes with ``recurra[bench]``.

    python -m benchmarks.templates prompts/train.jsonl prompts/valid.jsonl       # the word error rate of a manifest
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy
from torch import Tensor

from recurra.data.features import Cepstra
from recurra.data.manifests import Utterance, load, read_manifest
from recurra.heads.word_errors import word_errors

__all__ = ["Template", "distance", "nearest", "transcribe"]


class Template(NamedTuple):
    """A recording whose text is known: features ``(T, F)`` with T >= 1."""

    features: Tensor
    text: str


def transcribe(templates: Sequence[Template], recordings: Sequence[Tensor], band: float = 0.2) -> list[str]:
    """The text of the nearest template for each recording, features ``(T, F)``.

    band  how far the warping may leave the two diagonals, as a share of the longer recording
    """
    known = [(_frames(template.features), template.text) for template in templates]
    return [_nearest(known, _frames(features), band)[0] for features in recordings]


def nearest(templates: Sequence[Template], features: Tensor, band: float = 0.2) -> tuple[str, float]:
    """The text of the nearest template, and its distance. Of equally near ones the first."""
    return _nearest([(_frames(one.features), one.text) for one in templates], _frames(features), band)


def distance(a: Tensor, b: Tensor, band: float = 1.0) -> float:
    """The distance of two recordings, features ``(I, F)`` and ``(J, F)``."""
    return _distance(_frames(a), _frames(b), band, numpy.inf)


def _frames(features: Tensor) -> numpy.ndarray:
    if features.dim() != 2 or not len(features):
        raise ValueError(f"templates: expected features (T, F) with T >= 1, got {tuple(features.shape)}")
    return numpy.ascontiguousarray(features.double().numpy())


def _nearest(known: list[tuple[numpy.ndarray, str]], frames: numpy.ndarray, band: float) -> tuple[str, float]:
    if not known:
        raise ValueError("templates: expected at least one template, got none")
    text, best = known[0][1], numpy.inf
    for template, its_text in known:
        found = _distance(template, frames, band, best)
        if found < best:
            text, best = its_text, found
    return text, best


def _distance(a: numpy.ndarray, b: numpy.ndarray, band: float, enough: float) -> float:
    """inf if it is more than ``enough``: the loops stop early."""
    from dtaidistance import dtw_ndim  # optional

    size = len(a) + len(b)
    window = max(1, round(band * max(len(a), len(b)))) + 1
    limit = None if numpy.isinf(enough) else enough * size * (1 + 1e-9)
    return dtw_ndim.distance_fast(a, b, window=window, max_dist=limit, inner_dist="euclidean") / size


def _features(utterance: Utterance, cepstra: Cepstra) -> Tensor:
    """Cepstra with mean 0 and deviation 1 over the recording, two frames as one."""
    frames = cepstra(load(utterance, cepstra.rate).samples)
    frames = (frames - frames.mean(0)) / (frames.std(0, correction=0) + 1e-3)
    return frames[: len(frames) // 2 * 2].view(-1, 2, frames.shape[1]).mean(1)


def main() -> None:
    """Read two manifests, transcribe the second one with the first, and say how many words are wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.templates", description=main.__doc__)
    parser.add_argument("known", type=Path, help="manifest of the recordings that are templates")
    parser.add_argument("asked", type=Path, help="manifest of those to transcribe")
    parser.add_argument("--rate", type=int, default=8000, help="samples a second (%(default)s)")
    given = parser.parse_args()
    cepstra, begin = Cepstra(given.rate), time.perf_counter()
    templates = [Template(_features(one, cepstra), one.text) for one in read_manifest(given.known)]
    asked = read_manifest(given.asked)
    heard = transcribe(templates, [_features(one, cepstra) for one in asked])
    errors, seconds = word_errors([one.text for one in asked], heard), time.perf_counter() - begin
    print(f"{len(templates)} templates, {len(asked)} recordings, {seconds:.0f} s")
    print(f"word error rate {errors.wer:.1%}, character error rate {errors.cer:.1%}")


if __name__ == "__main__":
    main()
