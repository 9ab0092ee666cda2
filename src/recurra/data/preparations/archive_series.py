"""Series of the UCR and UEA archives in the format ``.ts``: the files as they are, under names that sets share."""

import shutil
from pathlib import Path

__all__ = ["prepare"]


def prepare(folder: Path, target: Path) -> None:
    """Write ``train.ts`` and ``test.ts``."""
    for part in ("train", "test"):
        (path,) = folder.rglob(f"*_{part.upper()}.ts")
        shutil.copyfile(path, target / f"{part}.ts")
