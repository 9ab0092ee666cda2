"""Measured numbers of a forecaster and its baselines as a table for people."""

from collections.abc import Mapping, Sequence

__all__ = ["scaled", "score_table", "verdict"]

NAMES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "mase": "MASE",
    "smape": "sMAPE",
    "wql": "WQL",
    "crps": "CRPS",
    "qlike": "QLIKE",
}


def score_table(measured: Mapping[str, float]) -> list[str]:
    """A row for the forecaster and for each baseline, a column for each measure; the best of a column has a star.

    Of coverages none is the best, and widths mean nothing without them.
    """
    names = ["", *dict.fromkeys(key.rpartition(".")[0] for key in measured if "." in key)]
    columns = [key for key in measured if _is_column(key)]
    rows = [["", *(_title(column) for column in columns)]]
    for name in names:
        values = [measured.get(f"{name}.{column}" if name else column) for column in columns]
        rows.append(
            [name or "forecaster", *(_shown(value, column) for value, column in zip(values, columns, strict=True))]
        )
    for place, column in enumerate(columns, 1):
        if column in NAMES:
            shown = [
                (measured.get(f"{name}.{column}" if name else column), row) for row, name in enumerate(names, 1)
            ]
            best = min((value, row) for value, row in shown if value is not None)[1]
            rows[best][place] += "*"
    return _aligned(rows)


def _is_column(key: str) -> bool:
    return key in NAMES or key == "direction" or key.startswith(("coverage_", "width_"))


def _title(column: str) -> str:
    if column == "direction":
        return "sign"
    if column.startswith("coverage_"):
        return f"in {column.removeprefix('coverage_')} %"
    return f"width {column.removeprefix('width_')}" if column.startswith("width_") else NAMES[column]


def _shown(value: float | None, column: str) -> str:
    if value is None:
        return "-"
    return f"{value:.1%}" if column.startswith(("coverage_", "direction")) else f"{value:.4g}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right; a star hangs over."""
    cells = [[cell if cell.endswith("*") else f"{cell} " for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(rows[0]))]
    lines = []
    for row in cells:
        numbers = " ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append(f"{row[0].ljust(widths[0])} {numbers}".rstrip())
    return lines


def scaled(measured: Mapping[str, float]) -> str:
    """The errors in deviations of the training part, where series of different units were measured."""
    rivals = {key.rpartition(".")[0]: value for key, value in measured.items() if key.endswith(".scaled_mse")}
    if "scaled_mse" not in measured:
        return ""
    mine = f"each series divided by its deviation in training: MSE {measured['scaled_mse']:.4f}, MAE "
    mine += f"{measured['scaled_mae']:.4f}"
    if not rivals:
        return mine
    best = min(rivals, key=lambda name: rivals[name])
    return f"{mine}; of {best}: {rivals[best]:.4f}, {measured[f'{best}.scaled_mae']:.4f}"


def verdict(measured: Mapping[str, float], by: str) -> str:
    """How the forecaster stands to the best baseline, and whether chance alone may have done it."""
    rivals = {key.rpartition(".")[0]: value for key, value in measured.items() if key.endswith(f".{by}")}
    if not rivals or "p_value" not in measured:
        return ""
    best = min(rivals, key=lambda name: rivals[name])
    change, p = measured[by] / rivals[best] - 1, measured["p_value"]
    sure = "more than chance" if p < 0.05 else "which chance alone may do"
    if "direction" in measured:
        right, low, high = (measured[name] for name in ("direction", "direction_low", "direction_high"))
        sure += f"; the sign is right in {right:.1%}, with 95 % confidence in {low:.1%} to {high:.1%}"
    way = "lower" if change < 0 else "higher"
    return (
        f"{NAMES[by]} {abs(change):.1%} {way} than that of the best baseline, {best}; "
        f"Diebold-Mariano p = {p:.2g}: {sure}"
    )
