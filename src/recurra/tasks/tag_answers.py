"""What a tagger answers: entities in a text, where they stand, and how sure it is of each."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from recurra.data.pieces import Piece, characters, words
from recurra.data.spans import Span, write
from recurra.errors import DataError
from recurra.heads.crf import CRF
from recurra.heads.crf import Span as CRFSpan
from recurra.tasks.tag_pictures import render

__all__ = ["answer", "confidences", "cut", "joiner"]


def joiner(units: str) -> str:
    """What stands between two tokens in a text."""
    return " " if units == "words" else ""


def cut(raw: str | Sequence[str], units: str) -> tuple[str, list[Piece]]:
    """A text and its tokens; tokens that come as a list make the text.

    Raises DataError if a token is empty.
    """
    if isinstance(raw, str):
        return raw, (words if units == "words" else characters)(raw)
    if not all(isinstance(token, str) and token for token in raw):
        raise DataError(f"predict: expected a text or a list of tokens that are not empty, got {raw!r}")
    pieces, at = [], 0
    for token in raw:
        pieces.append(Piece(token, at, at + len(token)))
        at += len(token) + len(joiner(units))
    return joiner(units).join(raw), pieces


def answer(text: str, pieces: list[Piece], found: list[Span], shares: list[float]) -> dict[str, Any]:
    """Entities with their places in the text, and BIO tags; ``shown`` is for people."""
    entities = []
    for span, share in zip(found, shares, strict=True):
        begin, end = pieces[span.begin].begin, pieces[span.end - 1].end
        entities.append(
            {"type": span.kind, "text": text[begin:end], "begin": begin, "end": end, "confidence": share}
        )
    tags, tokens = write(found, len(pieces)), [piece.text for piece in pieces]
    found_all = {"text": text, "entities": entities, "tokens": tokens, "tags": tags}
    return found_all | {"shown": render(text, entities)}


def confidences(
    head: CRF, scores: Tensor, lengths: Tensor, names: list[str], found: list[list[Span]]
) -> list[list[float]]:
    """The probability of each entity, exactly as it stands: with these ends and this type."""
    asked = [
        _span(names, row, span, int(length))
        for row, (entities, length) in enumerate(zip(found, lengths, strict=True))
        for span in entities
    ]
    shares = iter(head.span_probabilities(scores, lengths, asked).tolist() if asked else ())
    return [[next(shares) for _ in entities] for entities in found]


def _span(names: list[str], row: int, span: Span, length: int) -> CRFSpan:
    """What the CRF is asked for: the tags of the entity; in BIO also that no I- of its type follows."""
    begin, end, kind = span
    numbers = {name: number for number, name in enumerate(names)}
    if f"S-{kind}" in numbers:
        return CRFSpan(
            row, begin, [numbers[tag] for tag in write([Span(0, end - begin, kind)], end - begin, "BIOES")]
        )
    inside = numbers[f"I-{kind}"]
    tags: list[Any] = [numbers[f"B-{kind}"], *[inside] * (end - begin - 1)]
    return CRFSpan(row, begin, tags + ([[n for n in numbers.values() if n != inside]] if end < length else []))
