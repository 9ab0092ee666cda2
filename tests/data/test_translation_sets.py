"""Translations: pairs stay pairs, no English sentence is in two parts, and labels lose their marks alone."""

import struct

import pytest

from recurra.data.preparations import libreoffice, pairs
from recurra.data.preparations.messages import read_messages
from recurra.data.preparations.parts import key
from recurra.errors import DataError

PARTS = ("train", "valid", "test")


def read(folder, languages) -> dict[str, list[tuple[str, ...]]]:
    """The pairs of each part."""
    found = {}
    for name in PARTS:
        sides = [(folder / f"{name}.{language}").read_text("utf-8").split("\n")[:-1] for language in languages]
        found[name] = list(zip(*sides, strict=True))
    return found


def tatoeba(path, rows) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")


def test_all_translations_of_a_sentence_are_in_one_part(tmp_path):
    forms = ("Go {}!", "go  {}!", "GO {}!")
    rows = [(form.format(i), f"Ve {i} {j}", f"#{i}-{j}") for i in range(50) for j, form in enumerate(forms)]
    tatoeba(tmp_path / "spa.tsv", [*rows, rows[0]])
    assert pairs.prepare_spanish(tmp_path, tmp_path) == {"repeated pairs": 1}
    found = read(tmp_path, ("en", "es"))
    assert all(found.values())
    keys = {name: {key(source) for source, _ in members} for name, members in found.items()}
    assert sum(map(len, keys.values())) == len(set().union(*keys.values())) == 50
    everything = [pair for members in found.values() for pair in members]
    assert sorted(everything) == sorted((" ".join(source.split()), target) for source, target, _ in rows)


def test_everyone_is_named(tmp_path):
    rows = [(f"sentence {i}", f"речення {i}", f"#{i} (author)") for i in range(30)]
    tatoeba(tmp_path / "ukr.tsv", rows)
    pairs.prepare_ukrainian(tmp_path, tmp_path)
    found = read(tmp_path, ("en", "uk"))
    header, *names = (tmp_path / "attribution.tsv").read_text("utf-8").splitlines()
    assert header == "part\tline\tattribution"
    assert len(names) == 30
    for part, number, who in (line.split("\t") for line in names):
        assert found[part][int(number) - 1][0] == f"sentence {who.split()[0][1:]}"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (("Go.", "Ve."), "line 1: expected 3 columns, got 2"),
        (("Go.", " ", "me"), "pair 1: expected a sentence and"),
    ],
)
def test_malformed_pairs_are_errors(row, problem, tmp_path):
    tatoeba(tmp_path / "spa.tsv", [row])
    with pytest.raises(DataError, match=problem):
        pairs.prepare_spanish(tmp_path, tmp_path)


# Messages of programs


def catalogue(messages: dict[str, str], order: str = "<") -> bytes:
    """A ``.mo`` file as msgfmt writes it."""
    sides = [[text.encode() for text in side] for side in (messages.keys(), messages.values())]
    place = 28 + 16 * len(messages)
    tables, body = b"", b""
    for side in sides:
        for text in side:
            tables += struct.pack(f"{order}2I", len(text), place + len(body))
            body += text + b"\0"
    head = struct.pack(f"{order}7I", 0x950412DE, 0, len(messages), 28, 28 + 8 * len(messages), 0, 0)
    return head + tables + body


@pytest.mark.parametrize("order", ["<", ">"])
def test_messages(order, tmp_path):
    given = {"": "Language: zh_TW\n", "MENU\4Open": "開啟", "STR\4One row\0%1 rows": "%1 列", "No": "否"}
    (tmp_path / "a.mo").write_bytes(catalogue(given, order))
    assert list(read_messages(tmp_path / "a.mo")) == [
        ("Open", "開啟"),
        ("One row", "%1 列"),
        ("%1 rows", "%1 列"),
        ("No", "否"),
    ]


def test_messages_are_read_as_the_standard_library_reads_them(tmp_path):
    gettext = pytest.importorskip("gettext")
    given = {"": "Content-Type: text/plain; charset=UTF-8\n", "Yes": "是", "Cut": "剪下", "A\4Cut": "切"}
    (tmp_path / "a.mo").write_bytes(catalogue(given))
    with (tmp_path / "a.mo").open("rb") as file:
        reader = gettext.GNUTranslations(file)
    assert list(read_messages(tmp_path / "a.mo")) == [
        ("Yes", reader.gettext("Yes")),
        ("Cut", reader.gettext("Cut")),
        ("Cut", reader.pgettext("A", "Cut")),
    ]


def test_broken_catalogues_are_errors(tmp_path):
    whole = catalogue({"Yes": "是"})
    for raw, problem in ((b"", "expected a catalogue"), (whole[:24], "is broken"), (whole[:-4], "is broken")):
        (tmp_path / "a.mo").write_bytes(raw)
        with pytest.raises(DataError, match=rf"a\.mo.*{problem}|a\.mo: {problem}"):
            list(read_messages(tmp_path / "a.mo"))


# LibreOffice


@pytest.mark.parametrize(
    ("source", "translation", "clean"),
    [
        ("~Version:", "版本(~V)：", ("Version:", "版本：")),
        ("Start fro_m a document", "從文件開始(_M)", ("Start from a document", "從文件開始")),
        ("Whole wor_ds only", "僅針對完整單字(_Ｄ)", ("Whole words only", "僅針對完整單字")),
        ("_Delete User...", "刪除使用者(_D)...", ("Delete User...", "刪除使用者...")),
        ("_Name of a _file", "檔案名稱(_F)", ("_Name of a file", "檔案名稱")),
        ("Hex _#:", "十六進位(_#)：", ("Hex #:", "十六進位：")),
        ("Position _Y:", "位置 _Y：", ("Position Y:", "位置 Y：")),
        ("Line _3:", "線條 _3：", ("Line 3:", "線條 3：")),
        ("Comm_ents as PDF", "評註作為 PDF", ("Comments as PDF", "評註作為 PDF")),
        ("user_name is _x", "user_name 是 _x", ("user_name is x", "user_name 是 x")),
        ("begin with (_).", "以底線 (_) 開頭", ("begin with (_).", "以底線 (_) 開頭")),
        ("~0 cm", "~0 公分", ("~0 cm", "~0 公分")),
        (
            "Removing %EXTENSION_NAME",
            "正移除 %EXTENSION_NAME",
            ("Removing %EXTENSION_NAME", "正移除 %EXTENSION_NAME"),
        ),
        ("%PRODUCTNAME Writer", "%PRODUCTNAME 文書", ("LibreOffice Writer", "LibreOffice 文書")),
        ("%PRODUCTNAMEX", "甲", ("%PRODUCTNAMEX", "甲")),
    ],
)
def test_labels_lose_the_marks_of_their_keys(source, translation, clean):
    assert libreoffice.unmarked(source, translation) == clean


PAGE = """<html><head><title>x</title><script>var p = "<p id='par_id9'>no</p>";</script></head><body>
<h1 id="hd_id1" dir="auto">File</h1><p id="par_id2" class="paragraph">Press <span class="switchinline">
<span hidden="true" id="MACx" class="MAC">Command</span><span hidden="true" id="defaultx"><b>Ctrl</b></span></span>
 + A &amp; wait.<br>Then <a href="y">go</a>.</p><p>No name.</p><div><p id="par_id2">again</p></div></body></html>"""


def test_paragraphs_of_a_page():
    assert libreoffice.paragraphs(PAGE) == {"hd_id1": "File", "par_id2": "Press Ctrl + A & wait. Then go."}


@pytest.fixture
def program(tmp_path):
    """What is unpacked of the packages, on a small scale."""
    given = {
        "": "heading\n",
        "A\4_Open": "開啟(_O)",
        "B\4Open": "開啟",
        "Sum": "SUM",
        "%1 of %2": "%2 之 %1",
        "Row %1": "列",
        "One\n\nTwo": "一\n二",
        "One\nmore": "再一",
        "Type 中文": "輸入中文",
    }
    (tmp_path / "zh_TW").mkdir()
    (tmp_path / "zh_TW" / "cui.mo").write_bytes(catalogue(given))
    pages = {"en-US": PAGE, "zh-TW": PAGE.replace("File", "檔案").replace("wait.<br>Then", "稍候。")}
    for language, page in pages.items():
        folder = tmp_path / "help" / language / "text" / "shared"
        folder.mkdir(parents=True)
        (folder / "a.html").write_text(page, "utf-8")
    (tmp_path / "help" / "en-US" / "text" / "only.html").write_text(PAGE, "utf-8")
    return tmp_path


def test_pairs_of_labels_and_of_help(program):
    left_out = libreoffice.prepare(program, program)
    found = read(program, ("en", "zh_TW"))
    assert sorted(pair for members in found.values() for pair in members) == [
        ("%1 of %2", "%2 之 %1"),
        ("File", "檔案"),
        ("One", "一"),
        ("One more", "再一"),
        ("Open", "開啟"),
        ("Press Ctrl + A & wait. Then go.", "Press Ctrl + A & 稍候。 go."),
        ("Two", "二"),
    ]
    assert left_out == {"not translated": 2, "other gaps": 1, "repeated pairs": 1}
    assert not (program / "attribution.tsv").exists()
