"""Catalogues of messages as programs carry them (GNU gettext ``.mo``): what a program says, and its translation.

bytes 0-3     0x950412de, in the byte order of the file
bytes 8-19    number of messages, place of the table of originals, place of that of translations
each table    for a message its length and its place; ``context \\4 original``, ``singular \\0 plural``
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from recurra.errors import DataError

__all__ = ["read_messages"]

MAGIC = 0x950412DE


def read_messages(path: Path) -> Iterator[tuple[str, str]]:
    """Originals and translations, without contexts; each plural form with the last form of the translation.

    Raises DataError for a file that is no catalogue or is cut off.
    """
    raw = path.read_bytes()
    order = next((order for order in "<>" if raw[:4] == struct.pack(f"{order}I", MAGIC)), "")
    if not order:
        raise DataError(f"{path.name}: expected a catalogue of messages (.mo)")
    try:
        count, originals, translations = struct.unpack_from(f"{order}3I", raw, 8)
        for i in range(count):
            original, translation = (_text(raw, order, table + 8 * i) for table in (originals, translations))
            for form in original.rpartition("\4")[2].split("\0"):
                if form:  # the empty message is the catalogue's own heading
                    yield form, translation.split("\0")[-1]
    except (struct.error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is broken ({error})") from error


def _text(raw: bytes, order: str, place: int) -> str:
    size, start = struct.unpack_from(f"{order}2I", raw, place)
    return struct.unpack_from(f"{size}s", raw, start)[0].decode("utf-8")
