"""Tang poems: one couplet a line as the package prints it, a blank line between poems, nothing else."""

import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

__all__ = ["prepare", "prepare_fortunes", "whole"]

# What a poem is made of: Han characters and the punctuation of editors. A poem with any other sign is left out: a
# lacuna (□ ○ ●), a note in parentheses, a character described by its parts ({亻口}), a number of a footnote.
LINE = re.compile("[㐀-鿿\U00020000-\U0003ffff，。？！；、：「」『』《》]+")
# A character that an editor restored stands in brackets; [一] to [十] are the numbers of notes.
RESTORED = re.compile("\\[([㐀-鿿])\\]")
NUMBERS = set("一二三四五六七八九十")
# In GB 2312 and not in Big5, yet old forms that the printed editions themselves use.
OLD_FORMS = set(
    "却荆迹脚烟凭脉着笋坂衮葱虬叶耻姹恒郄麽踪藁强珉咤灾蘖猪溆疴冲猫凉粤亘携蹰莅礴撑兹眦鞲鼗沲鞴幞懔癯幺"
)


def prepare(folder: Path, target: Path) -> None:
    """Write ``text.txt`` from lists of poems ``{"paragraphs": [couplet, ...]}``, in the order of the volumes."""
    lists = sorted(folder.rglob("*.json"), key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])
    poems = (poem["paragraphs"] for path in lists for poem in json.loads(path.read_text("utf-8")))
    kept = dict.fromkeys("\n".join(lines) for lines in map(restore, poems) if whole(lines) and traditional(lines))
    _write(kept, target)


def prepare_fortunes(folder: Path, target: Path) -> None:
    """Write ``text.txt`` from a file of the program fortune: poems between lines of ``%``, headings in colour."""
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    poems = (poem.strip().split("\n") for poem in path.read_text("utf-8").split("\n%"))
    texts = ([line.strip() for line in lines if "\x1b" not in line and line.strip()] for lines in poems)
    _write(dict.fromkeys("\n".join(lines) for lines in texts if whole(lines)), target)


def _write(poems: Iterable[str], target: Path) -> None:
    (target / "text.txt").write_text("\n\n".join(poems) + "\n", "utf-8", newline="\n")


def restore(lines: list[str]) -> list[str]:
    """Normal form C, and ``[妝]`` as ``妝``."""
    return [RESTORED.sub(_restored, unicodedata.normalize("NFC", line)) for line in lines]


def _restored(found: re.Match[str]) -> str:
    return found[0] if found[1] in NUMBERS else found[1]


def whole(lines: list[str]) -> bool:
    """Two lines or more without gaps or notes; single lines are fragments quoted in other books."""
    return len(lines) > 1 and all(LINE.fullmatch(line) for line in lines)


def traditional(lines: list[str]) -> bool:
    """No character that only Simplified Chinese writes, as far as the two standards tell them apart."""
    return not any(_simplified(sign) for sign in set("".join(lines)) - OLD_FORMS)


def _simplified(sign: str) -> bool:
    return _has(sign, "gb2312") and not _has(sign, "big5")


def _has(sign: str, encoding: str) -> bool:
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
