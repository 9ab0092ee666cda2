"""Tagged sentences that come in columns already: the names in tweets of WNUT 2016 (Strauss et al. 2016)."""

from pathlib import Path

from recurra.data.preparations import tags
from recurra.data.preparations.tables import read_lines
from recurra.errors import DataError

__all__ = ["prepare_wnut16"]


def prepare_wnut16(folder: Path, target: Path) -> dict[str, int]:
    """Write ``train.conll``, ``valid.conll`` and ``test.conll``, 8 : 1 : 1 in the order of the tweets."""
    (path,) = folder.rglob("ner.txt")
    sentences: list[tags.Sentence] = []
    sentence: list[tuple[str, str]] = []
    for number, (token, tag) in enumerate([*read_lines(path, 2), ["", ""]], 1):
        if token and tag:
            sentence.append((token, tag))
        elif token or tag:
            raise DataError(f"{path.name}, line {number}: expected a token and its tag, got {[token, tag]}")
        elif sentence:
            sentences.append(tuple(sentence))
            sentence = []
    kept, left_out = tags.single(sentences)
    tags.write_parts(tags.cut(kept), target)
    return left_out
