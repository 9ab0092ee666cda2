"""Entities and their tags: against seqeval, which counts as the script of CoNLL, and against brute force."""

import random
from itertools import product

import pytest

from recurra.data.spans import SCHEMES, Span, convert, illegal, kinds_of, parse, scheme_of, spans, write
from recurra.errors import ConfigError, DataError

# What conlleval says of broken sequences, by its rules startOfChunk and endOfChunk.
PINNED = [
    ("O O", []),
    ("I-PER I-PER O", [(0, 2, "PER")]),
    ("B-PER I-LOC", [(0, 1, "PER"), (1, 2, "LOC")]),
    ("B-PER B-PER", [(0, 1, "PER"), (1, 2, "PER")]),
    ("O I-LOC B-LOC I-LOC", [(1, 2, "LOC"), (2, 4, "LOC")]),
    ("S-LOC I-LOC", [(0, 1, "LOC"), (1, 2, "LOC")]),
    ("B-LOC E-LOC E-LOC", [(0, 2, "LOC"), (2, 3, "LOC")]),
    ("B-LOC I-LOC E-PER", [(0, 2, "LOC"), (2, 3, "PER")]),
    ("B-LOC S-LOC O", [(0, 1, "LOC"), (1, 2, "LOC")]),
    ("B-a-b I-a-b", [(0, 2, "a-b")]),
]


@pytest.mark.parametrize(("tags", "expected"), PINNED)
def test_spans_as_the_script_of_conll(tags: str, expected: list) -> None:
    assert spans(tags.split()) == [Span(*span) for span in expected]


def test_spans_equal_seqeval_on_every_short_sequence() -> None:
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling")
    names = ["O", "B-X", "I-X", "B-Y", "I-Y", "E-X", "S-X"]
    for tags in [*product(names, repeat=3), *random.Random(0).choices([*product(names, repeat=5)], k=400)]:
        theirs = sorted((begin, end + 1, kind) for kind, begin, end in labeling.get_entities(list(tags)))
        assert spans(tags) == [Span(*span) for span in theirs], tags


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_written_is_read_again(scheme: str) -> None:
    drawn = random.Random(1)
    for _ in range(300):
        length = drawn.randrange(1, 9)
        found, at = [], 0
        while (begin := at + drawn.randrange(3)) < length:
            at = min(length, begin + drawn.randrange(1, 4))
            found.append(Span(begin, at, drawn.choice(["X", "Y"])))
        tags = write(found, length, scheme)
        assert spans(tags) == found
        assert not illegal(tags, scheme)
        for other in SCHEMES:
            assert convert(convert(tags, other), scheme) == tags


def test_letters_of_each_scheme() -> None:
    found = [Span(0, 1, "X"), Span(1, 4, "X"), Span(5, 7, "Y")]
    assert write(found, 7) == ["B-X", "B-X", "I-X", "I-X", "O", "B-Y", "I-Y"]
    assert write(found, 7, "BIO1") == ["I-X", "B-X", "I-X", "I-X", "O", "I-Y", "I-Y"]
    assert write(found, 7, "BIOES") == ["S-X", "B-X", "I-X", "E-X", "O", "B-Y", "E-Y"]
    assert spans(["U-X", "B-X", "I-X", "L-X", "O", "B-Y", "L-Y"]) == found, "BILOU"
    with pytest.raises(ConfigError, match="expected one of BIO, BIO1, BIOES"):
        write(found, 7, "IOB")
    for wrong in ([Span(0, 8, "X")], [Span(2, 2, "X")], [Span(0, 3, "X"), Span(2, 4, "Y")]):
        with pytest.raises(DataError, match="that do not overlap"):
            write(wrong, 7)


def test_the_scheme_of_a_file_is_found() -> None:
    assert scheme_of([["O", "O"]]) == "BIO"
    assert scheme_of([["B-X", "I-X"], ["O"]]) == "BIO"
    assert scheme_of([["I-X", "I-X", "B-X"], ["O", "I-Y"]]) == "BIO1"
    assert scheme_of([["B-X", "I-X"], ["O", "I-Y"]]) == "BIO", "one slip does not make another scheme"
    assert scheme_of([["B-X", "I-X"], ["S-X"]]) == "BIOES"
    assert kinds_of([["B-X", "I-X"], ["S-Y", "O"]]) == ["X", "Y"]


@pytest.mark.parametrize(
    ("tags", "scheme", "places"),
    [
        ("O I-X O", "BIO", [1]),
        ("I-X B-Y I-X", "BIO", [0, 2]),
        ("O I-X B-X", "BIO1", []),
        ("B-X O", "BIOES", [1]),
        ("B-X I-X", "BIOES", [2]),
        ("S-X E-X", "BIOES", [1]),
        ("B-X E-Y", "BIOES", [1]),
    ],
)
def test_tags_that_cannot_stand_where_they_do(tags: str, scheme: str, places: list[int]) -> None:
    assert illegal(tags.split(), scheme) == places


@pytest.mark.parametrize("tag", ["", "X", "B", "B-", "-X", "b-X", "o", "BX", "Z-X", "B X"])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(DataError, match="expected a tag such as"):
        parse(tag)
