"""Poems: which are kept, in what form and order."""

import json

import pytest

from recurra.data.preparations import poems

SPRING = ["春眠不覺曉，處處聞啼鳥。", "夜來風雨聲，花落知多少。"]


@pytest.fixture
def prepared(tmp_path):
    def prepare(files: dict[str, list[list[str]]]) -> str:
        raw, made = tmp_path / "raw", tmp_path / "made"
        raw.mkdir()
        made.mkdir()
        for name, texts in files.items():
            rows = [{"author": "孟浩然", "paragraphs": lines, "title": "春曉"} for lines in texts]
            (raw / name).write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
        poems.prepare(raw, made)
        return (made / "text.txt").read_text("utf-8")

    return prepare


def test_one_couplet_a_line_and_a_blank_line_between_poems(prepared):
    other = ["問君何能爾？心遠地自偏。", "採菊東籬下，悠然見南山。"]
    text = prepared({"poet.tang.10.json": [other], "poet.tang.9.json": [SPRING, SPRING]})
    assert text == "\n".join(SPRING) + "\n\n" + "\n".join(other) + "\n"


@pytest.mark.parametrize(
    "line",
    [
        "冰□已鏤津，紅梅色冷。",
        "●●啼深竹，鵁鶄老溼沙。",
        "邏人（一作「叉」）橫鳥道。",
        "茂陵[一]秋雨，病相如。",
        "妖韶援綠{𥫗/戢}，花開。",
        "鵲巢惡木巔1，窘一枝息。",
        "",
        "门前一樹花，春來。",
    ],
)
def test_poems_with_gaps_notes_or_simplified_characters_are_left_out(line, prepared):
    text = prepared({"poet.tang.0.json": [[SPRING[0], line], SPRING, [SPRING[0]], []]})
    assert text == "\n".join(SPRING) + "\n"


def test_restored_characters_lose_their_brackets_and_text_is_in_normal_form(prepared):
    assert (
        prepared({"a.json": [["[妝]罷低聲問夫壻，", "行\ufa08行重行行。"]]}) == "妝罷低聲問夫壻，\n行行行重行行。\n"
    )


def test_old_forms_are_not_taken_for_simplified_characters():
    assert poems.traditional(["却話巴山夜雨時。", "爲有源頭活水來，輕攏慢撚抹復挑，初爲霓裳後六幺。"])
    assert not poems.traditional(["举头望明月"])


def test_fortunes(tmp_path):
    raw, made = tmp_path / "raw" / "games", tmp_path / "made"
    raw.mkdir(parents=True)
    made.mkdir()
    poem = "\x1b[32m《春曉》\x1b[m\n\x1b[33m作者：孟浩然\x1b[m\n" + "\n".join(SPRING)
    (raw / "tang300").write_text(f"{poem}\n%\n{poem}\n%\nx 1\n2\n%\n", "utf-8")
    poems.prepare_fortunes(tmp_path / "raw", made)
    assert (made / "text.txt").read_text("utf-8") == "\n".join(SPRING) + "\n"
