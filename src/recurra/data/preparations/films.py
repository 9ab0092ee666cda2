"""Films as packages hold them, under plain names, and the boxes of people in films as paths on the ground."""

import shutil
from pathlib import Path

from recurra.data.preparations.tables import read_rows
from recurra.errors import DataError

__all__ = ["CLIPS", "TRACKS", "prepare_clips", "prepare_street", "prepare_tracks"]

CLIPS = ("bikes", "bigbuckbunny", "carphone_pristine")
TRACKS = {"TUD-Campus": "campus.txt", "TUD-Stadtmitte": "stadtmitte.txt"}


def prepare_street(folder: Path, target: Path) -> None:
    """Write ``street.avi``."""
    (film,) = folder.rglob("vtest.avi")
    shutil.copyfile(film, target / "street.avi")


def prepare_clips(folder: Path, target: Path) -> None:
    """Write ``bikes.mp4``, ``bigbuckbunny.mp4`` and ``carphone.mp4``."""
    for film in folder.rglob("*.mp4"):
        shutil.copyfile(film, target / film.name.replace("_pristine", ""))


def prepare_tracks(folder: Path, target: Path) -> None:
    """Write a line ``frame id x y`` for each box: the middle of its lower side, where the feet are, in pixels."""
    for name, file in TRACKS.items():
        (path,) = folder.rglob(f"{name}/gt.txt")
        boxes = [
            _box(row, f"{path.name} of {name}, line {number}") for number, row in enumerate(read_rows(path, 10), 1)
        ]
        lines = [f"{frame}\t{person}\t{x:g}\t{y:g}\n" for frame, person, x, y in sorted(boxes)]
        (target / file).write_text("".join(lines), "utf-8")


def _box(row: list[str], where: str) -> tuple[int, int, float, float]:
    try:
        frame, person = int(row[0]), int(row[1])
        left, top, width, height = map(float, row[2:6])
    except ValueError as error:
        raise DataError(f"{where}: expected frame, person, left, top, width and height, got {row[:6]}") from error
    return frame, person, left + width / 2, top + height
