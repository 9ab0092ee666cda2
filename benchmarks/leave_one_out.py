"""Prediction of paths on ETH and UCY, each of five scenes left out once (Gupta et al. 2018), beside rules.

python -m benchmarks.leave_one_out --data eth_ucy.zip --out runs/eth_ucy              the test part, read once
python -m benchmarks.leave_one_out --data eth_ucy.zip --out runs/eth_ucy --part valid

Trains one network for each scene by the recipe, and writes the table to the screen and to OUT/PART.md. A training
that is there already is not repeated.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from recurra import files, recipe
from recurra.errors import ConfigError
from recurra.run.folder import RunFolder
from recurra.tasks import TrajectoryPredictor

FOLDS = ("eth", "hotel", "univ", "zara1", "zara2")
ROWS = {
    "constant velocity": ("constant_velocity_ade", "constant_velocity_fde"),
    "linear fit": ("linear_ade", "linear_fde"),
    "expected path": ("ade", "fde"),
    "best of all futures": ("min_ade", "min_fde"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and measure five folds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.leave_one_out",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="the zip file or folder with a folder for each fold")
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs and the table")
    parser.add_argument("--recipe", default="eth_ucy", help="%(default)s")
    parser.add_argument("--part", choices=("valid", "test"), default="test")
    parser.add_argument("--set", action="append", default=[], help="change a key of the recipe")
    asked = parser.parse_args(arguments)
    found = {fold: fold_of(asked, fold) for fold in FOLDS}
    text = table(found)
    print(text)
    files.write_text(asked.out / f"{asked.part}.md", text)


def fold_of(asked: argparse.Namespace, fold: str) -> dict[str, float]:
    """What the network of one fold measures, trained now if it is not there."""
    settings = [f"data.path={json.dumps(str(asked.data))}", f"data.fold={fold}", *asked.set]
    plan = recipe.read("trajectory", recipe.find("trajectory", asked.recipe), settings)
    folder = RunFolder(asked.out / fold)
    if folder.weights.exists():
        task = TrajectoryPredictor.load(folder.path)
        if task.config != plan.config:
            raise ConfigError(f"{folder.path} was trained in another way; give another --out")
    else:
        task = TrajectoryPredictor(plan.config)
        task.fit(folder.path, plan.fit)
    return task.evaluate(asked.part)


def table(found: dict[str, dict[str, float]]) -> str:
    """ADE/FDE of each fold and their mean, as Markdown."""
    first = next(iter(found.values()))
    lines = ["| ADE/FDE, metres | " + " | ".join((*found, "mean")) + " |", "|---" * (len(found) + 2) + "|"]
    for name, keys in ROWS.items():
        if keys[0] not in first:
            continue
        values = [tuple(measured[key] for key in keys) for measured in found.values()]
        values.append(tuple(sum(column) / len(column) for column in zip(*values, strict=True)))
        shown = " | ".join(f"{ade:.3f}/{fde:.3f}" for ade, fde in values)
        lines.append(f"| {name} | {shown} |")
    for key in ("miss_rate", "collision_rate"):
        shares = [measured[key] for measured in found.values()]
        shown = " | ".join(f"{share:.1%}" for share in (*shares, sum(shares) / len(shares)))
        lines.append(f"| {key.replace('_', ' ')} | {shown} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
