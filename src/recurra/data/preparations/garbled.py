"""Text that programs have read in a wrong encoding and saved again, as the tweets of CrowdFlower were.

UTF-8 bytes were taken for Windows-1252 and saved as Mac Roman, some of them twice or three times; a character that
Mac Roman lacks became ``_``. What came through whole is brought back; the rest cannot be read any more.

    as it was                            ’
    its UTF-8 bytes as Windows-1252      â€™
    their Mac Roman bytes as Latin-1     0x89 0xdb 0xaa
"""

import re

__all__ = ["LOST", "mend"]

RUN = re.compile(r"_*(?:[^\x00-\x7f]_*)+")
LOST = "\N{REPLACEMENT CHARACTER}"
UNUSED = "\x81\x8d\x8f\x90\x9d"  # bytes that Windows-1252 does not define; programs pass them through
TIMES = 3


def mend(text: str) -> str:
    """A text as it was, from one whose other characters than ASCII are saved bytes; � stands for what is lost."""
    return RUN.sub(lambda found: _mended(found[0]), text)


def _mended(run: str) -> str:
    if "_" in run:
        return LOST
    for _ in range(TIMES):
        run = "".join(map(_step_back, run))
        try:
            return run.encode("latin-1").decode("utf-8")
        except UnicodeError:  # garbled once more, or lost
            continue
    return LOST


def _step_back(sign: str) -> str:
    """A saved byte as the byte before it was garbled; a character that is no byte stays and makes the text lost."""
    try:
        return (
            sign
            if sign in UNUSED
            else sign.encode("latin-1").decode("mac_roman").encode("cp1252").decode("latin-1")
        )
    except UnicodeError:
        return LOST
