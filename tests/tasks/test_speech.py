"""Speech recognition: streams equal recordings to the bit, and what cannot be learned is named."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.trials import speech, spoken

from recurra import cli
from recurra.data.audio import Sound, write_sound
from recurra.data.manifests import Utterance, write_manifest
from recurra.data.text import Characters
from recurra.errors import ConfigError, DataError, DataWarning, NotCausalError, RunError, StateError
from recurra.run.fit import Fit
from recurra.tasks import LanguageModel, SpeechRecognizer
from recurra.tasks.language_model import LanguageModelConfig, LanguageNet
from recurra.tasks.speech_config import (
    SpeechAugment,
    SpeechConfig,
    SpeechData,
    SpeechFeatures,
    SpeechLive,
    SpeechNet,
    SpeechSearch,
)
from recurra.tasks.speech_disturbance import Disturbance
from recurra.tasks.speech_network import SpeechNetwork
from recurra.tasks.speech_tokens import SpeechTokens
from recurra.tasks.subsampling import Subsampling

NET = SpeechNet(widths=(5, 3), strides=(2, 2), channels=12, hidden=12, depth=2, bidirectional=False)
GREEDY = SpeechSearch()
GUIDED = SpeechSearch(beam=4, language_model="words", order=2, lexicon="training")


def talker(folder: Path, net: SpeechNet = NET, search: SpeechSearch = GREEDY, **data: Any) -> SpeechRecognizer:
    """A recognizer with random weights that talks much: its tokens are far from equally likely."""
    torch.manual_seed(3)
    config = speech(folder).config
    features, live = SpeechFeatures(size=16), SpeechLive(silence=0.3)
    changed = replace(config, data=replace(config.data, **data), model=net, search=search)
    task = SpeechRecognizer(replace(changed, features=features, live=live))
    task.quiet = True
    task.data()
    network = task.network()
    assert isinstance(network, SpeechNetwork)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight *= 12 if name in ("tokens.weight", "transducer.output.weight") else 1.5
    task.trained = network
    return task


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose sounds are written once."""
    return tmp_path_factory.mktemp("speech")


def chatter(seconds: float = 1.7) -> torch.Tensor:
    """Tones, noise, and half a second of nothing."""
    random = torch.Generator().manual_seed(1)
    parts = [spoken(["low", "top", "mid"]).samples, torch.zeros(4000), spoken(["mid", "mid"], 2).samples]
    return torch.cat([*parts, 0.1 * torch.randn(2345, generator=random)])[: int(8000 * seconds)]


VARIANTS = {
    "ctc": (NET, GREEDY),
    "sru, one convolution": (replace(NET, layer="sru", widths=(4,), strides=(3,)), GREEDY),
    "words, lexicon and beam": (NET, GUIDED),
    "transducer": (replace(NET, head="transducer", auxiliary=0.0, prediction=8, embedding=4), GREEDY),
    "transducer, beam": (replace(NET, head="transducer", prediction=8, embedding=4), SpeechSearch(beam=2)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stream_says_what_the_recording_says_for_every_block_size(shared: Path, variant: str) -> None:
    net, search = VARIANTS[variant]
    task = talker(shared, net, search, tokens="words" if search is GREEDY else "characters")
    samples = chatter()
    whole = task.listener().whole(samples)
    assert whole, "the test would compare silence"
    for size in (80, 333, 1600, len(samples)):
        stream = task.stream()
        said = [one for block in samples.split(size) for one in stream.push(block) if one.final]
        assert said + stream.finish() == whole, size


def test_a_stream_takes_single_samples_and_nothing(shared: Path) -> None:
    task, samples = talker(shared), chatter(0.15)
    stream = task.stream()
    for block in samples.split(1):
        stream.push(block)
        stream.push(block[:0])
    assert stream.finish() == task.listener().whole(samples)
    assert task.listener().whole(samples[:0]) == []


def test_steps_of_a_stream_are_those_of_a_batch(shared: Path) -> None:
    """The oracle of the above: the network at once, in a batch with a longer row, gives the same up to rounding."""
    task, heard = talker(shared), []
    listener, network = task.listener(), task.ready()
    decoder = listener.decoder
    push = type(decoder).push
    try:
        type(decoder).push = lambda self, h, state: (heard.append(h), push(self, h, state))[1]  # type: ignore
        listener.whole(chatter(0.69))
    finally:
        type(decoder).push = push  # type: ignore[method-assign]
    frames = task._features()(chatter(0.69))
    assert len(frames) % 4 == 3, "an odd end is what is hard"
    padded = torch.full((2, len(frames) + 9, 16), torch.nan)
    padded[0, : len(frames)] = frames
    padded[1] = 0.5
    h, lengths = network.encode(padded, torch.tensor([len(frames), len(frames) + 9]))
    torch.testing.assert_close(torch.cat(heard), h[0, : lengths[0]], atol=1e-5, rtol=1e-5)


def test_subsampling_never_reads_the_future_or_padding() -> None:
    torch.manual_seed(0)
    module = Subsampling(3, 7, (5, 3), (3, 2))
    x, lengths = torch.randn(3, 19, 3), torch.tensor([19, 8, 0])
    poisoned = x.clone()
    poisoned[1, 8:] = torch.nan
    poisoned[2] = torch.nan
    y, steps = module(poisoned, lengths)
    assert steps.tolist() == [4, 2, 0] == module.steps(lengths).tolist()
    assert not y[1, 2:].any()
    alone, _ = module(x[1:2, :8], torch.tensor([8]))
    torch.testing.assert_close(y[1:2, :2], alone)
    later = x.clone()
    later[0, 12:] += 1
    torch.testing.assert_close(module(later, lengths)[0][0, :2], y[0, :2])


def test_a_memory_moves_to_another_stream(shared: Path, tmp_path: Path) -> None:
    task, samples = talker(shared), chatter()
    stream = task.stream()
    said = [one for one in stream.push(samples[:7001]) if one.final]
    stream.save(tmp_path / "memory")
    other = SpeechRecognizer(task.config)
    other.relearn(json.loads(json.dumps(task.learned())))
    other.trained = task.trained
    again = other.stream()
    again.load(tmp_path / "memory")
    said += [one for one in again.push(samples[7001:]) if one.final]
    assert said + again.finish() == task.listener().whole(samples)
    strange = talker(shared, replace(NET, hidden=9)).stream()
    with pytest.raises(StateError, match="other sizes"):
        strange.load(tmp_path / "memory")
    with pytest.raises(RunError):
        strange.load(tmp_path / "absent")


def test_memory_does_not_grow_in_silence(shared: Path) -> None:
    task = talker(shared)
    with torch.no_grad():
        task.ready().tokens.bias[0] += 1000  # nothing but blanks
    stream, sizes = task.stream(), []
    for _ in range(40):
        stream.push(torch.zeros(2400))
        sizes.append(sum(leaf.numel() for leaf in _leaves(stream.state)))
    assert max(sizes[20:]) <= max(sizes[:20])
    assert stream.finish() == []


def _leaves(state: Any) -> list[torch.Tensor]:
    return [state] if isinstance(state, torch.Tensor) else [leaf for branch in state for leaf in _leaves(branch)]


def test_a_network_that_needs_the_future_cannot_listen(shared: Path) -> None:
    task = talker(shared, replace(NET, bidirectional=True))
    with pytest.raises(NotCausalError, match=r"model\.bidirectional = false"):
        task.stream()
    assert task.predict(Sound(chatter(), 8000))["words"]


def test_samples_are_checked(shared: Path) -> None:
    stream = talker(shared).stream()
    stream.push((chatter(0.1) * 32767).to(torch.int16))
    with pytest.raises(DataError, match="int16"):
        stream.push(torch.zeros(8, dtype=torch.int64))


def test_what_cannot_be_learned_is_named_and_counted(tmp_path: Path) -> None:
    task = speech(tmp_path)
    rows = [Utterance(tmp_path / f"{i}.wav", "low") for i in range(4)]
    rows += [Utterance(tmp_path / "4.wav", "low " * 40), Utterance(tmp_path / "5.wav", "top")]
    write_manifest(tmp_path / "train.jsonl", rows)
    write_manifest(tmp_path / "valid.jsonl", [Utterance(tmp_path / "0.wav", "low Zürich")])
    longest = (0.7,)
    task.config = replace(task.config, data=replace(task.config.data, longest=longest[0]))
    write_sound(tmp_path / "5.wav", spoken(["top"] * 6))
    task.quiet = True
    data = task.data()
    assert task.notes["recordings to train on"] == "4 of 6"
    assert task.notes["left out, longer than data.longest = 0.7 s"] == "1"
    assert "1 (" in task.notes["left out, too short for their transcripts"]
    assert "4.wav" in task.notes["left out, too short for their transcripts"]
    assert "zürich" in task.notes["pieces of valid transcripts that training never saw"]
    assert len(data.valid.rows) == 1  # type: ignore[attr-defined]


def test_a_batch_with_an_impossible_row_has_a_finite_loss(shared: Path) -> None:
    task = talker(shared)
    batch = task.data().valid.epoch(0)[0]
    with torch.no_grad():
        _check_crowded(task, batch)


def _check_crowded(task: SpeechRecognizer, batch: Any) -> None:
    whole = task.ready()(batch)
    crowded = batch._replace(lengths=batch.lengths.clone())
    row = int(batch.token_lengths.argmax())
    crowded.lengths[row] = 1
    others = [place for place in range(len(batch.lengths)) if place != row]
    without = batch._replace(**{name: getattr(batch, name)[others] for name in batch._fields})
    assert torch.isfinite(whole)
    assert float(task.ready()(crowded)) == pytest.approx(float(task.ready()(without)), rel=1e-5)


def test_a_bad_recording_is_told(tmp_path: Path) -> None:
    task = speech(tmp_path)
    write_sound(tmp_path / "3.wav", Sound(torch.zeros(9000), 8000))
    task.quiet = True
    with pytest.warns(DataWarning, match=r"3\.wav is silent"):
        task.data()
    assert task.notes["recordings that may be bad"] == "1 silent"


def test_joined_rows_are_all_recordings_once_of_one_speaker_each(shared: Path) -> None:
    task = talker(shared)
    rows = [
        row._replace(utterance=row.utterance._replace(speaker="ab"[row.place % 2]))
        for row in task._rows(_all(task))
    ]
    task.config = replace(task.config, augment=SpeechAugment(join=(2, 4), speed=0.0, noise=1.0, loudness=6.0))
    maker = task._maker()
    strings = maker._strings(rows, torch.Generator().manual_seed(0))
    assert sorted(row.place for string in strings for row in string) == list(range(20))
    assert all(len({row.utterance.speaker for row in string}) == 1 for string in strings)
    first, again = (maker.disturbed(rows, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.frames.equal(again.frames)
    assert int(first.token_lengths.sum()) == sum(len(row.text.split()) for row in rows)


def test_training_rows_begin_with_silence() -> None:
    disturbance = Disturbance(SpeechAugment(gap=0.5, speed=0.0), 8000, torch.Generator().manual_seed(0))
    silent = []
    for _ in range(60):
        loud = (disturbance.join([torch.ones(3), torch.ones(3)]) > 0.5).nonzero()[:, 0]
        silent.append([int(loud[0]), int(loud[3] - loud[2]) - 1])
    before, between = torch.tensor(silent).T
    assert int((before > 0).sum()) >= 58
    assert int(before.max()) <= 4000
    assert 20 <= int((between == 0).sum()) <= 40  # half of the joints have no gap


def _all(task: SpeechRecognizer) -> list[Utterance]:
    return [row.utterance for row in task.data().valid.rows]  # type: ignore[attr-defined]


def test_a_second_head_tells_languages_apart(tmp_path: Path) -> None:
    task = speech(tmp_path)
    for part in ("train", "valid", "test"):
        rows = [one._replace(language="en" if one.text.startswith("low") else "fr") for one in _all(task)]
        write_manifest(tmp_path / f"{part}.jsonl", rows)
    task = SpeechRecognizer(replace(task.config, model=replace(task.config.model, languages=True)))
    task.fit(tmp_path / "run", Fit(steps=40, learning_rate=0.03, warmup=5, evaluate_every=40), quiet=True)
    task = SpeechRecognizer.load(tmp_path / "run")
    measured = task.evaluate("valid")
    assert measured["wer"] == 0
    assert measured["language_accuracy"] > 0.9
    assert measured["rtf"] > 0
    answer = task.predict(tmp_path / "2.wav")
    assert answer["language"] in ("en", "fr")
    assert sum(answer["languages"].values()) == pytest.approx(1)
    assert answer["shown"].startswith(answer["language"])


def test_a_transducer_learns(shared: Path) -> None:
    task = talker(shared, VARIANTS["transducer"][0])
    batch, network, losses = task.data().train.epoch(0)[0], task.ready().train(), []
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(12):
        loss, count, _ = task.loss(network, batch, None)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()) / count)
    assert losses[-1] < 0.6 * losses[0]


def test_errors_and_a_transducer_are_drawn(shared: Path, tmp_path: Path) -> None:
    task = talker(shared, VARIANTS["transducer"][0])
    drawn = task.draw_measured(task.held_out("valid"), tmp_path)
    assert [path.name for path in drawn] == ["words.png", "words.txt", "worst.png"]
    assert all(path.stat().st_size > 100 for path in drawn)


def test_ctc_is_drawn(shared: Path, tmp_path: Path) -> None:
    (path,) = talker(shared).draw_answer(Sound(chatter(0.6), 8000), tmp_path, "a")
    assert path.stat().st_size > 1000


def test_a_recurrent_language_model_is_kept_with_the_recognizer(shared: Path, tmp_path: Path) -> None:
    reader = LanguageModel(LanguageModelConfig(model=LanguageNet(hidden=8, depth=1)))
    reader.tokens = Characters.learn("low mid top\n", 0)
    reader.trained = reader.network()
    reader.save(tmp_path / "reader")
    search = SpeechSearch(beam=3, language_model=str(tmp_path / "reader"))
    task = talker(shared, search=search, tokens="characters")
    task.save(tmp_path / "run")
    (tmp_path / "reader").rename(tmp_path / "gone")
    other = SpeechRecognizer.load(tmp_path / "run")
    sound = Sound(chatter(0.8), 8000)
    assert other.predict(sound) == task.predict(sound)
    assert not any("reader" in name for name, p in other.network().named_parameters() if p.requires_grad)


def test_the_language_model_is_weighed_by_validation(tmp_path: Path) -> None:
    task = talker(tmp_path, search=replace(GUIDED, tune=True), tokens="characters")
    write_manifest(tmp_path / "valid.jsonl", _all(task)[-3:])
    data = task.data()
    task.finish(data)
    weight, bonus = task.speller.weight, task.speller.bonus
    best = task.evaluate("valid")["wer"]
    task.speller.weight, task.speller.bonus = GUIDED.weight, GUIDED.bonus
    task._listener = None
    assert best < task.evaluate("valid")["wer"] or (weight, bonus) == (GUIDED.weight, GUIDED.bonus)
    assert "search" in task.learned()


def test_tokens_spell_words_of_any_script() -> None:
    for kind in ("characters", "words", "byte_pairs"):
        tokens = SpeechTokens.learn(["привет мир", "où est-ce"], kind, 300 if kind == "byte_pairs" else 0)
        numbers = tokens.encode("привет où")
        assert 0 not in numbers
        assert tokens.text(numbers) == "привет où"
        assert SpeechTokens.from_dict(json.loads(json.dumps(tokens.to_dict()))).text(numbers) == "привет où"


def test_the_command_listens_to_a_file(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talker(shared).save(tmp_path / "run")
    write_sound(tmp_path / "a.wav", Sound(chatter(0.5), 8000))
    assert _run("listen", tmp_path / "run", "--from-file", tmp_path / "a.wav", "--json") == 0
    shown = capsys.readouterr()
    told = [json.loads(line) for line in shown.out.splitlines()]
    assert told[-1]["final"]
    assert told[-1]["words"]
    assert "100 ms of sound took" in shown.err


@pytest.mark.parametrize("error", [ImportError("none"), OSError("PortAudio library not found")])
def test_no_microphone_is_one_clear_line(
    shared: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    class Missing:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "sounddevice":
                raise error

    talker(shared).save(tmp_path / "run")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    assert _run("listen", tmp_path / "run") == 2
    shown = capsys.readouterr().err
    assert "microphone needs" in shown
    assert shown.count("\n") == 1


def _run(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as ended, warnings.catch_warnings():
        cli.main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"model": SpeechNet(widths=(2,), strides=(3,))}, "model.widths"),
        ({"model": SpeechNet(layer="gruu")}, "did you mean 'gru'"),
        ({"data": SpeechData(train="a")}, "data.train"),
        ({"data": SpeechData(split=(1.0, 0.0, 0.0))}, "data.split"),
        ({"augment": SpeechAugment(join=(3, 2))}, "augment.join"),
        ({"augment": SpeechAugment(speed=0.9)}, "augment.speed"),
        ({"search": SpeechSearch(language_model="words")}, "search.beam"),
        ({"search": SpeechSearch(tune=True)}, "search.tune"),
        ({"model": SpeechNet(head="transducer"), "search": SpeechSearch(beam=2, lexicon="training")}, "transducer"),
        ({"live": SpeechLive(silence=0)}, "live.silence"),
        (
            {"model": SpeechNet(bidirectional=False), "features": SpeechFeatures(normalisation="utterance")},
            "features.normalisation",
        ),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        SpeechConfig(**table)
