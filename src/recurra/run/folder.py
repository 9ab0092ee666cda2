"""A run folder: everything about one training, in formats that people can open.

recipe.toml          the resolved recipe, a comment per key
config.json          task, versions, the same configuration
vocabulary.json      what the task learned from the training part besides the weights
model.safetensors    the best weights so far
metrics.jsonl        one line a record: losses, learning rate, validation
curves.png           the same, drawn
checkpoints/         the newest complete checkpoint: everything needed to go on
"""

import json
import shutil
from pathlib import Path
from typing import Any

from recurra import files
from recurra.errors import RunError

__all__ = ["RunFolder"]


class RunFolder:
    """The files of one run under ``path``."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.config = self.path / "config.json"
        self.vocabulary = self.path / "vocabulary.json"
        self.weights = self.path / "model.safetensors"
        self.metrics = self.path / "metrics.jsonl"
        self.curves = self.path / "curves.png"
        self.checkpoints = self.path / "checkpoints"

    def check_free(self, overwrite: bool = False) -> None:
        """Raise RunError if the folder holds something that may not be replaced."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            if not overwrite:
                raise RunError(
                    f"{self.path} exists and is not empty; choose another --out, go on with --resume, "
                    "or replace it with --overwrite"
                )
            if not self._is_ours():
                raise RunError(f"{self.path} is not a run folder, so --overwrite does not delete it")

    def _is_ours(self) -> bool:
        """Whether there is a run, or the little that a kill at its very start leaves."""
        if not self.path.is_dir():
            return False
        names = {path.name for path in self.path.iterdir()}
        return self.config.name in names or names <= {self.checkpoints.name, self.recipe.name}

    def create(self, overwrite: bool = False) -> None:
        """Make the folder, in place of an old run if ``overwrite`` says so. Raises RunError if it cannot be."""
        self.check_free(overwrite)
        try:
            if self.path.exists():
                shutil.rmtree(self.path)
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot make the run folder {self.path}: {error.strerror}") from error

    def require(self) -> None:
        """Raise RunError if there is no run here."""
        if not self.config.exists():
            raise RunError(f"{self.path} is not a run folder: {self.config.name} is missing")

    def record(self, values: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise RunError(f"cannot write {self.metrics}: {error.strerror}") from error

    def records(self) -> list[dict[str, Any]]:
        """All records; a last line that a kill cut off is left out."""
        if not self.metrics.exists():
            return []
        found = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                break
        return found

    def rewind(self, step: int) -> None:
        """Forget the records after ``step``, which a resumed run will write again."""
        kept = [record for record in self.records() if record["step"] <= step]
        files.write_text(self.metrics, "".join(json.dumps(record) + "\n" for record in kept))
