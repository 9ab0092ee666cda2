"""WikiText-2: the word-level text from the raw one."""

import gzip

from recurra.data.preparations import wikitext

RAW = {
    "train": " \n a a a b b c @-@ \n b b\xa0 d d d \n",
    "valid": " a b e <eos> \n \n",
    "test": " \n b d d \n",
}


def folders(tmp_path):
    raw, made = tmp_path / "raw" / "deep", tmp_path / "made"
    raw.mkdir(parents=True)
    made.mkdir()
    for split, text in RAW.items():
        (raw / f"{split}.raw.gz").write_bytes(gzip.compress(text.encode()))
    return raw, made


def test_words_that_come_three_times_in_training_are_kept(tmp_path):
    raw, made = folders(tmp_path)
    wikitext.prepare(raw.parent, made)
    # b comes three times; with a hard space behind it, it is another word.
    assert (made / "train.txt").read_text("utf-8") == "\na a a b b <unk> <unk>\nb <unk> d d d\n"
    assert (made / "valid.txt").read_text("utf-8") == "a b <unk> <unk>\n\n"
    assert (made / "test.txt").read_text("utf-8") == "\nb d d\n"


def test_the_raw_text_keeps_every_word(tmp_path):
    raw, made = folders(tmp_path)
    wikitext.prepare_raw(raw.parent, made)
    assert (made / "train.txt").read_bytes() == "\na a a b b c @-@\nb b\xa0 d d d\n".encode()
    assert sorted(path.name for path in made.iterdir()) == ["test.txt", "train.txt", "valid.txt"]
