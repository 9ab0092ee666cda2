"""``make bench``: run the comparisons and write them to docs/benchmarks."""

import json
import platform
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks import layers

FOLDER = Path(__file__).parents[1] / "docs" / "benchmarks"


def main() -> None:
    """Measure, and write a JSON file and a table."""
    rows = layers.run(15, print)
    machine = {
        "processor": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    values = {"machine": machine, "rows": [asdict(row) for row in rows]}
    (FOLDER / "layers.json").write_text(json.dumps(values, indent=1) + "\n")
    (FOLDER / "layers.md").write_text(table(rows, machine))


def table(rows: list[layers.Row], machine: dict[str, object]) -> str:
    """The results as Markdown, slower points included."""
    geometric = torch.tensor([row.result.ratio for row in rows]).log().mean().exp()
    lines = [
        "# One layer, forward and backward, against torch.nn",
        "",
        "Time of torch.nn divided by time of recurra, medians of 15 interleaved rounds, quartiles in",
        "brackets; above 1 recurra is faster. Ragged: a padded batch with `lengths` against a PackedSequence.",
        "Written by `make bench`; both sides were checked to agree first.",
        "",
        "; ".join(f"{name}: {value}" for name, value in machine.items()),
        "",
        "| | T | B | H | recurra ms | torch ms | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        r = row.result
        numbers = f"{r.ours:.2f} | {r.theirs:.2f} | {r.ratio:.2f} ({r.low:.2f} to {r.high:.2f})"
        lines.append(f"| {row.name} | {row.time} | {row.batch} | {row.hidden} | {numbers} |")
    return "\n".join([*lines, "", f"Geometric mean: {geometric:.2f}", ""])


if __name__ == "__main__":
    main()
