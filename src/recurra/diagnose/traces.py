"""Pictures of hidden states and gates over time."""

from pathlib import Path

import matplotlib
from torch import Tensor

from recurra import files
from recurra.errors import ShapeError

matplotlib.use("Agg", force=False)

from matplotlib.figure import Figure

__all__ = ["draw_heat_map", "liveliest"]


def liveliest(values: Tensor, most: int) -> Tensor:
    """Numbers of the ``most`` units of ``values (T, H)`` that vary most, in the order in which they peak."""
    count = min(most, values.shape[1])
    chosen = values.var(0, correction=0).topk(count).indices
    return chosen[values[:, chosen].argmax(0).argsort(stable=True)]


def draw_heat_map(values: Tensor, labels: list[str], path: str | Path, title: str, most: int = 40) -> None:
    """Draw ``values (T, H)``, such as a hidden state or a gate, as a PNG: one column a time step, one row a unit.

    labels  what the network read at each of the T steps
    most    how many units to show: the liveliest, in the order in which they peak
    """
    if values.dim() != 2 or len(values) != len(labels) or not len(labels):
        raise ShapeError(
            f"draw_heat_map: expected values (T, H) and T labels, got {tuple(values.shape)}, {len(labels)}"
        )
    values = values.detach().float().cpu()
    units = liveliest(values, most)
    reach = max(float(values.abs().max()), 1e-6)
    width = max(6.0, 0.17 * len(labels) + 1.8)
    figure = Figure(figsize=(width, 0.13 * len(units) + 1.3), dpi=120, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values[:, units].T.numpy(), aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach)
    shown = [{"\n": "↵", " ": "·"}.get(label, label) for label in labels]
    axes.set_xticks(range(len(labels)), shown, fontsize=8, family=["DejaVu Sans Mono", "monospace"])
    axes.set_yticks(range(0, len(units), 5), [f"{int(u)}" for u in units[::5]], fontsize=7)
    axes.set_ylabel("unit")
    axes.set_title(title, fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03)
    files.write(Path(path), lambda temporary: figure.savefig(temporary, format="png"))
