"""Keyword spotting: strings and their places, the loss, alarms and their scores, streams in any cut, pictures."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.trials import keywords, recordings
from torch import Tensor

from recurra import tree
from recurra.data.audio import read_sound
from recurra.data.manifests import read_manifest, write_manifest
from recurra.errors import ConfigError, DataError
from recurra.run.fit import Fit
from recurra.tasks.keyword_config import AlarmConfig, KeywordData, KeywordNet
from recurra.tasks.keyword_data import Joiner, read_clips
from recurra.tasks.keyword_network import KeywordBatch, KeywordNetwork, stacked
from recurra.tasks.keyword_scores import Heard, alarms, curve
from recurra.tasks.keywords import KeywordSpotter


@pytest.fixture(scope="module")
def spotter(tmp_path_factory: pytest.TempPathFactory) -> KeywordSpotter:
    task = keywords(tmp_path_factory.mktemp("examples"))
    task.fit(tmp_path_factory.mktemp("runs") / "run", Fit(steps=30, learning_rate=0.02, warmup=5), quiet=True)
    return task


def test_strings_have_the_recordings_where_they_say(tmp_path: Path) -> None:
    data = replace(keywords(tmp_path).config.data, noise=0.0, loudness=0.0, keywords=("rise", "fall"))
    clips, joiner = read_clips(data)[0], Joiner(data)
    there = [clip for clip in clips if any(clip.counts)]
    others = [clip for clip in clips if not any(clip.counts)]
    string = joiner.training(there, others, torch.Generator().manual_seed(3))
    assert string.places
    sounds = {clip: joiner.sound(clip.utterance) for clip in clips}
    for place in string.places:
        found = string.samples[place.begin : place.end]
        same = [clip for clip, sound in sounds.items() if torch.equal(sound, found)]
        assert same[0].utterance.text == data.keywords[place.keyword]
    again = joiner.training(there, others, torch.Generator().manual_seed(3))
    assert torch.equal(again.samples, string.samples)


def test_what_is_measured_has_every_recording_once_before_one_comes_again(tmp_path: Path) -> None:
    data = replace(keywords(tmp_path).config.data, minutes=0.4)
    clips, joiner = read_clips(data)[1], Joiner(data)
    strings = joiner.measured(clips, 5)
    seconds = sum(len(string.samples) for string in strings) / data.rate
    assert 24 <= seconds < 24 + 2
    said = sum(len(string.places) for string in strings)
    dealt = seconds / (sum(len(joiner.sound(clip.utterance)) for clip in clips) / len(clips) / data.rate + 0.25)
    assert said == pytest.approx(dealt / 3, abs=4)  # a third of the recordings is the keyword


def test_phrases_are_counted_word_by_word(tmp_path: Path) -> None:
    rows = read_manifest(keywords(tmp_path).config.data.path + "/train.jsonl")
    texts = ("good day good day", "Good  Day", "goodday", "a good day", "")
    for part in ("train", "valid", "test"):
        write_manifest(
            tmp_path / f"{part}.jsonl", [row._replace(text=text) for row, text in zip(rows, texts, strict=False)]
        )
    clips = read_clips(KeywordData(path=str(tmp_path), keywords=("good day",)))[0]
    assert [clip.counts for clip in clips] == [(2,), (1,), (0,), (1,), (0,)]


def test_a_manifest_without_parts_is_split_text_by_text(tmp_path: Path) -> None:
    keywords(tmp_path)
    (tmp_path / "all.jsonl").write_text((tmp_path / "train.jsonl").read_text())
    parts = read_clips(KeywordData(path=str(tmp_path / "all.jsonl"), keywords=("rise",), split=(0.5, 0.25, 0.25)))
    assert [len(part) for part in parts] == [12, 6, 6]
    assert len({clip.utterance for part in parts for clip in part}) == 24


def test_data_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    data = keywords(tmp_path).config.data
    with pytest.raises(DataError, match="'sink' is never said in the train part"):
        read_clips(replace(data, keywords=("sink",)))
    with pytest.raises(DataError, match="every recording of the train part has a keyword"):
        read_clips(replace(data, keywords=("rise", "fall", "hold")))
    with pytest.raises(DataError, match="no file, folder or data set 'nowhere'"):
        read_clips(replace(data, path="nowhere"))


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (KeywordData, {"keywords": ("a", "a")}, "data.keywords: expected different words"),
        (KeywordData, {"keywords": ()}, "data.keywords: expected different words"),
        (KeywordData, {"share": 1.5}, "data.share: expected a share from 0 to 1"),
        (KeywordData, {"most": 2}, "data.most: expected at least data.least = 3"),
        (KeywordData, {"snr": (9.0, 3.0)}, "data.snr: expected decibels from and to"),
        (KeywordData, {"speed": 1.0}, "data.speed: expected a share"),
        (KeywordNet, {"stack": 0}, "model.stack: expected at least 1"),
        (KeywordNet, {"layer": "gruu"}, "unknown layer 'gruu'; did you mean 'gru'"),
        (AlarmConfig, {"rest": -1.0}, "alarm.rest: expected at least 0"),
    ],
)
def test_keys_are_checked(kind: Any, values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        kind(**values)


def test_the_loss_is_what_it_says() -> None:
    """Step by step in plain Python, padding and two keywords included."""
    torch.manual_seed(0)
    network = KeywordNetwork(KeywordNet(stack=2, hidden=5, dropout=0.0, weight=7.0), 3, 2).double()
    places = torch.tensor([[0, 1, 1, 2, 5, 4, 1], [1, 0, 0, 0, 2, 1, 1]])
    x = torch.randn(2, 6, 6, dtype=torch.float64)
    x[1, 4:] = math.nan
    batch = KeywordBatch(x, torch.tensor([6, 4]), places)
    logits = network.logits(x, batch.lengths).double()
    want = 0.0
    for row, length in ((0, 6), (1, 4)):
        for keyword in (0, 1):
            spoken = [
                step for r, k, _, b, e, _, _ in places.tolist() if (r, k) == (row, keyword) for step in range(b, e)
            ]
            p = logits[row, :, keyword].sigmoid().tolist()
            want -= sum(math.log(1 - p[step]) for step in range(length) if step not in spoken)
            want -= 7.0 * math.log(max(p[step] for step in spoken)) if spoken else 0.0
    assert float(network(batch).detach()) == pytest.approx(want, rel=1e-5)


def test_alarms_rest() -> None:
    p = torch.tensor([0.1, 0.9, 0.8, 0.9, 0.2, 0.9, 0.9])
    assert alarms(p, 0.85, 1) == [1, 3, 5]
    assert alarms(p, 0.85, 2) == [1]
    assert alarms(p, 0.1, 1) == [0]
    assert alarms(p, 0.95, 1) == []
    assert alarms(torch.tensor([0.9, 0.1, 0.1, 0.1, 0.9]), 0.85, 3) == [0, 4]


def test_misses_and_false_alarms_are_counted() -> None:
    """Twenty steps of half a second; the word is said in steps 4 to 7, twice in 12 to 15, and once unheard."""
    p = torch.full((20, 1), 0.01)
    for step, value in ((2, 0.6), (4, 0.9), (6, 0.9), (13, 0.7), (15, 0.8)):
        p[step] = value
    heard = [Heard(p.logit(), [[0, 4, 8, 5, 1], [0, 12, 16, 14, 2], [0, 18, 20, 19, 1]])]
    found = curve(heard, 0.5, 1, [0.5, 0.75, 0.95])
    assert (found.hours, found.keywords) == (10 / 3600, 4)
    low, middle, high = found.points
    assert (low.misses, round(low.false_alarms)) == (
        0.25,
        2 * 360,
    )  # step 2, and the second alarm in the first place
    assert low.delay == pytest.approx(0.5 * ((4 - 5) + (13 - 14) + (15 - 14)) / 3)
    assert (middle.misses, round(middle.false_alarms)) == (0.5, 360)
    assert (high.misses, high.false_alarms, high.delay) == (1.0, 0.0, 0.0)
    assert found.choose(400.0) is middle
    assert found.choose(0.0) is high
    assert found.choose(1000.0) is low


@pytest.mark.parametrize("size", [1, 80, 441, 4000, 1 << 20])
def test_any_cut_gives_the_same_alarms(spotter: KeywordSpotter, tmp_path: Path, size: int) -> None:
    (path, *_) = recordings(tmp_path)[1:]
    samples = read_sound(path, 4000).samples
    if size == 1:
        samples = samples[:3000]
    whole = spotter.stream()
    want = whole.push(samples) + whole.finish()
    parts, probabilities = spotter.stream(), []
    found = []
    for block in samples.split(size):
        found += parts.push(block)
        probabilities.append(parts.probabilities)
        parts.state = tree.build(tree.spec(parts.state), tree.leaves(parts.state))  # as from a file
    assert found + parts.finish() == want
    assert len(torch.cat([*probabilities, parts.probabilities])) == len(samples) // 40 // 3 or size > 0
    assert all(map(torch.equal, tree.leaves(parts.state), tree.leaves(whole.state)))


def test_a_state_is_a_value(spotter: KeywordSpotter, tmp_path: Path) -> None:
    samples = read_sound(recordings(tmp_path)[1], 4000).samples
    stream = spotter.stream(samples[:3000])
    before = tree.map(Tensor.clone, stream.state)
    kept = stream.state
    first = stream.push(samples[3000:])
    assert all(map(torch.equal, tree.leaves(before), tree.leaves(kept)))
    other = spotter.stream()
    other.state = kept
    assert other.push(samples[3000:]) == first


def test_steps_are_frames_side_by_side() -> None:
    frames = torch.arange(14.0).view(7, 2)
    assert stacked(frames, 3).tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert stacked(frames[:2], 3).shape == (0, 6)


def test_pictures_are_drawn(spotter: KeywordSpotter, tmp_path: Path) -> None:
    drawn = spotter.draw_measured(spotter.held_out("valid"), tmp_path)
    drawn += spotter.draw_answer(recordings(tmp_path)[1], tmp_path, "00001")
    assert [path.name for path in drawn] == ["curve.png", "00001.png"]
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in drawn)
    assert "fused ran" in spotter.explain() or "reference" in spotter.explain()


def test_training_strings_are_new_in_each_epoch_and_the_same_for_the_same_one(spotter: KeywordSpotter) -> None:
    train = spotter.data().train
    first, again, other = train.epoch(0)[0], train.epoch(0)[0], train.epoch(1)[0]
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.places, again.places)
    assert first.x.shape != other.x.shape or not torch.equal(first.x, other.x)
