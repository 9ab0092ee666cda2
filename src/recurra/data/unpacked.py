"""An archive of one's own, unpacked once beside the data sets by name."""

import hashlib
from pathlib import Path

from recurra.data.archives import unpack
from recurra.data.catalogue.entry import root
from recurra.data.packages import temporary

__all__ = ["unpacked"]


def unpacked(archive: Path, pattern: str, kind: str) -> Path:
    """The folder with the files of an archive that fit a pattern; known by its sha256, so a changed one is another.

    kind  what it holds, the beginning of the folder's name
    """
    with archive.open("rb") as file:
        folder = root() / f"{kind}-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    if not folder.exists():
        with temporary(root()) as part:
            unpack(archive, [pattern], part / "made")
            try:
                (part / "made").rename(folder)
            except OSError:  # another process was first
                if not folder.exists():
                    raise
    return folder
