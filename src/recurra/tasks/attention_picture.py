"""Where a translator looked: the attention matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from torch import Tensor

from recurra import files
from recurra.errors import ShapeError

matplotlib.use("Agg", force=False)

from matplotlib import font_manager
from matplotlib.figure import Figure

__all__ = ["draw_attention", "font_families"]

# Fonts with Chinese, Japanese and Korean characters, as systems name them; Traditional Chinese of Taiwan first.
IDEOGRAPHS = (
    "Noto Sans CJK TC",
    "Noto Sans TC",
    "Noto Sans CJK JP",
    "Source Han Sans TC",
    "PingFang TC",
    "Heiti TC",
    "Microsoft JhengHei",
    "AR PL UMing TW",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)


def font_families() -> list[str]:
    """The families to draw text with: matplotlib's own font, and those of this system that have more characters."""
    here = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in IDEOGRAPHS if name in here)]


def draw_attention(weights: Tensor, source: Sequence[str], target: Sequence[str], path: str | Path) -> None:
    """Draw attention ``weights (T, S)`` as a PNG: a row for each target token, a column for each of the source.

    source  text of the S tokens that were read
    target  text of the T tokens that were written

    Characters that no font of this system has are drawn as their code points.
    """
    if weights.shape != (len(target), len(source)) or not weights.numel():
        raise ShapeError(
            f"draw_attention: expected weights ({len(target)}, {len(source)}) with a token on each side at least, "
            f"got {tuple(weights.shape)}"
        )
    height, width = 0.26 * len(target) + 0.9, 0.26 * len(source) + 1.6
    figure = Figure(figsize=(max(width, 3.2), max(height, 2.2)), dpi=130, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(weights.detach().float().cpu().numpy(), cmap="Blues", vmin=0, vmax=1, aspect="equal")
    families = font_families()
    axes.set_xticks(
        range(len(source)), [_shown(piece) for piece in source], rotation=60, ha="left", family=families
    )
    axes.set_yticks(range(len(target)), [_shown(piece) for piece in target], family=families)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=9, rotation_mode="anchor", axis="x")
    axes.tick_params(length=0, labelsize=9, axis="y")
    for line in range(max(weights.shape) + 1):
        if line < len(source):
            axes.axvline(line - 0.5, color="0.92", linewidth=0.5)
        if line < len(target):
            axes.axhline(line - 0.5, color="0.92", linewidth=0.5)
    figure.colorbar(image, ax=axes, pad=0.02, shrink=0.7, ticks=[0, 0.5, 1], label="attention")
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))


def _shown(piece: str) -> str:
    """A token's text as a label: a space inside a word's piece shows, one before a word does not."""
    text = piece.removeprefix(" ") or "␣"
    known = [font_manager.get_font(font_manager.findfont(family)) for family in font_families()]
    return "".join(
        char if any(ord(char) in f.get_charmap() for f in known) else f"U+{ord(char):04X}" for char in text
    )
