"""Texts for language models: the Brown corpus, news articles, exchanges from films."""

import csv
import io
import zipfile

import pytest

from recurra.data.preparations import articles, brown, dialogues
from recurra.errors import DataError


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("`` I ain't going '' ! !", '"I ain\'t going!"'),
        ("He said , `` go '' , and ( maybe ) left -- soon ; ;", 'He said, "go," and (maybe) left -- soon;'),
        ("Ivan Allen Jr. .", "Ivan Allen Jr."),
        ("Why not say ' yes ' ? ?", "Why not say 'yes?'"),
        ("Wait . . .", "Wait."),
    ],
)
def test_brown_as_print_has_it(tokens, text):
    assert brown.plain(tokens.split()) == text


def test_brown_documents_paragraphs_and_headings(tmp_path):
    first = "\n\n\n\tThe/at end/nn ./.\nA/at start/nn ./.\n\n\n\tNews/nn-hl today/nr-hl\nYes/rb ./.\n"
    (tmp_path / "cb01").write_text("\tLast/ap ./.\n")
    (tmp_path / "ca01").write_text(first)
    (tmp_path / "CONTENTS").write_text("no tags here")
    brown.prepare(tmp_path, tmp_path)
    assert (tmp_path / "text.txt").read_text() == "The end. A start.\nNews today\nYes.\n\nLast.\n"


@pytest.mark.parametrize("token", ["end", "end/", "/nn"])
def test_brown_needs_a_tag_for_each_word(token):
    with pytest.raises(DataError, match="ca01: expected word/tag"):
        list(brown.sentences(f"The/at {token} ./.", "ca01"))


def table(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def test_articles_keep_their_titles_and_come_once(tmp_path):
    rows = [["1", "d", "u", "A  title", "", "Some\ntext."], ["2", "d", "u", "Other", "s", "Some text."]]
    rows += [["3", "d", "u", "Nothing", "", " "], ["4", "d", "u", "", "", "Cafe\u0301."]]
    made = tmp_path / "made"
    made.mkdir()
    with zipfile.ZipFile(tmp_path / "NewsArticles.zip", "w") as file:
        file.writestr("NewsArticles.csv", table([articles.COLUMNS, *rows]))
    assert articles.prepare(tmp_path, made) == {"articles without text": 1, "repeated articles": 1}
    assert (made / "text.txt").read_text("utf-8") == "A title\nSome text.\n\nCaf\xe9.\n"


def test_exchanges_are_two_lines(tmp_path):
    rows = [["", "statement", "reply"], ["0", "hi. ", "who?"], ["1", "hi.", "who?"], ["2", "", "me"]]
    (tmp_path / "moviedialog.csv").write_text(table([*rows, ["3", "a, b", 'say "c"']]))
    assert dialogues.prepare(tmp_path, tmp_path) == {"exchanges with an empty side": 1, "repeated exchanges": 1}
    assert (tmp_path / "text.txt").read_text() == 'hi.\nwho?\n\na, b\nsay "c"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("statement,reply\n", "line 1: expected 3 columns, got 2"),
        (",reply,statement\n", "expected the columns .* in line 1, got"),
        (",statement,reply\n1,a\n", "line 2: expected 3 columns, got 2"),
        (',statement,reply\n1,a,"b\n', "line 2: unexpected end of data"),
        (",statement,reply\n1,a,\xe9\n", "expected the encoding utf-8"),
    ],
)
def test_malformed_tables_are_errors(text, problem, tmp_path):
    (tmp_path / "moviedialog.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=f"moviedialog.csv.*{problem}"):
        dialogues.prepare(tmp_path, tmp_path)
