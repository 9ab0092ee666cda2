"""A text with the words that moved an answer in colour: as HTML, and on a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from rich.style import Style
from rich.text import Text

__all__ = ["HeatMap", "html_page", "shown_in_colour"]

FOR, AGAINST = (31, 119, 180), (230, 120, 20)  # blue and orange, which colour-blind people can tell apart too


@dataclass(frozen=True)
class HeatMap:
    """What each token of a text did to the log-odds of an answer.

    text         the text
    pieces       its tokens, as they stand there
    values       the share of each: above 0 it spoke for the answer, below 0 against it
    label        the answer
    probability  of the answer
    score, base  log-odds of the answer for this text, and for a text of as many tokens that say nothing
    gap          what the values miss of score - base
    """

    text: str
    pieces: list[str]
    values: list[float]
    label: str
    probability: float
    score: float
    base: float
    gap: float

    def spans(self) -> Iterator[tuple[str, float | None]]:
        """All of the text in order, with the value of what is a token; white space between tokens has none."""
        at = 0
        for piece, value in zip(self.pieces, self.values, strict=True):
            begin = self.text.find(piece, at)
            if begin < 0:  # a part of a character, or a token that was changed in reading
                yield piece, value
                continue
            if begin > at:
                yield self.text[at:begin], None
            yield piece, value
            at = begin + len(piece)
        if at < len(self.text):
            yield self.text[at:], None

    def strength(self, value: float) -> float:
        """From -1 to 1, 1 for the token that did most."""
        return value / max(1e-9, *map(abs, self.values))


def _colour(strength: float, background: int) -> tuple[int, int, int]:
    """A colour between the background and blue or orange."""
    target, share = (FOR if strength > 0 else AGAINST), abs(strength) * 0.85
    red, green, blue = (round(background + (level - background) * share) for level in target)
    return red, green, blue


def shown_in_colour(heat_map: HeatMap) -> Text:
    """The answer and the text for a terminal: blue spoke for the answer, orange against it."""
    line = Text()
    line.append(f"{heat_map.label} {heat_map.probability:.3f}", style="bold")
    line.append("  ")
    for piece, value in heat_map.spans():
        strength = 0.0 if value is None else heat_map.strength(value)
        if abs(strength) < 0.08:
            line.append(piece)
            continue
        red, green, blue = _colour(strength, 255)
        line.append(piece, style=Style(color="black", bgcolor=f"#{red:02x}{green:02x}{blue:02x}"))
    return line


PAGE = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.9 system-ui, sans-serif; max-width: 46em; margin: 2em auto; padding: 0 1em; color: #111; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #ccc; border-radius: 6px;
  padding: .8em 1em; }}
.text span {{ border-radius: 3px; padding: .1em 0; }}
.note {{ color: #555; font-size: 13px; line-height: 1.5; }}
</style>
</head>
<body>
<p><b>{label}</b> with probability {probability:.3f}</p>
<div class="text" dir="auto">{body}</div>
<p class="note"><span style="background:{agree}">blue</span> spoke for this answer,
<span style="background:{differ}">orange</span> against it; point at a word to see its share.
The shares add up to {total:+.3f}: the log-odds of the answer are {score:+.3f}, and {base:+.3f} for a text of
as many tokens that say nothing (the error of the sum is {gap:.1g}).
Integrated gradients, Sundararajan et al. 2017.</p>
</body>
</html>
"""


def html_page(heat_map: HeatMap) -> str:
    """A page of its own, with everything in it; the text is escaped."""
    agree, differ = (f"rgb{_colour(strength, 255)}" for strength in (0.8, -0.8))
    return PAGE.format(
        title=escape(heat_map.label),
        label=escape(heat_map.label),
        probability=heat_map.probability,
        body="".join(_span(heat_map, piece, value) for piece, value in heat_map.spans()),
        agree=agree,
        differ=differ,
        total=sum(heat_map.values),
        score=heat_map.score,
        base=heat_map.base,
        gap=abs(heat_map.gap),
    )


def _span(heat_map: HeatMap, piece: str, value: float | None) -> str:
    if value is None:
        return escape(piece)
    colour = _colour(heat_map.strength(value), 255)
    return f'<span style="background:rgb{colour}" title="{value:+.3f}">{escape(piece)}</span>'
