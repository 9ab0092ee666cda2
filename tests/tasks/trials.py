"""A trial for every task: twenty examples, and what must come of them."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.data.audio import Sound, read_sound, write_sound
from recurra.data.conll import Sentence, write_conll
from recurra.data.films import write_video
from recurra.data.manifests import Utterance, write_manifest
from recurra.data.midi import note_name, read_midi, write_midi
from recurra.data.series import parse_series
from recurra.data.video import read_frames
from recurra.errors import DataError
from recurra.run.fit import Fit
from recurra.tasks import (
    ActionRecognizer,
    Forecast,
    FramePredictor,
    LanguageModel,
    MusicModel,
    SequenceClassifier,
    SpeechRecognizer,
    Tagger,
    TextClassifier,
    TrajectoryPredictor,
    Translator,
)
from recurra.tasks.actions import ActionAugment, ActionConfig, ActionData, ActionNet, ActionView
from recurra.tasks.classify import TextClassifierConfig, TextData, TextNet
from recurra.tasks.classify_series import SequenceClassifierConfig, SeriesData, SeriesNet
from recurra.tasks.forecast_config import (
    ForecastConfig,
    ForecastData,
    ForecastIntervals,
    ForecastMeasure,
    ForecastOutput,
)
from recurra.tasks.forecast_net import ForecastNet
from recurra.tasks.frames_config import FramesConfig, FramesData, FramesNet
from recurra.tasks.keywords import AlarmConfig, KeywordConfig, KeywordData, KeywordNet, KeywordSpotter
from recurra.tasks.language_model import LanguageData, LanguageModelConfig, LanguageNet
from recurra.tasks.music import MusicConfig, MusicData, MusicNet
from recurra.tasks.speech_config import SpeechAugment, SpeechConfig, SpeechData, SpeechFeatures, SpeechNet
from recurra.tasks.tag import TagConfig, TagData, TagNet
from recurra.tasks.trajectory_config import TrajectoryConfig, TrajectoryData, TrajectoryNet
from recurra.tasks.translation_config import SearchConfig, TranslationConfig, TranslationData, TranslationNet
from recurra.testing import BadInput, Trial

LINES = [f"{who} {does} the {what}." for who in ("Ann", "Ben") for does in ("saw", "hid") for what in "abcde"]


def language_model(folder: Path) -> LanguageModel:
    (folder / "lines.txt").write_text("\n".join(LINES * 3), encoding="utf-8")
    data = LanguageData(text=str(folder / "lines.txt"), batch=4, window=16, split=(1 / 3, 1 / 3, 1 / 3))
    return LanguageModel(LanguageModelConfig(data, LanguageNet(layer="gru", hidden=32, depth=1, dropout=0.0)))


def read_by_stream(model: LanguageModel, raw: str) -> dict[str, Any]:
    """The answer of `predict`, from what a stream expects before each character."""
    stream = model.stream(raw[0])
    tokens, nats = stream.tokens, []
    for piece in raw[1:]:
        nats.append(-float(stream.logits[0].log_softmax(-1)[tokens.encode(piece)[0]]))
        stream.push(piece)
    mean = sum(nats) / len(nats)
    chances, best = tokens.known(stream.logits[0]).softmax(-1).topk(5)
    following = {tokens.decode([n]): p for n, p in zip(best.tolist(), chances.tolist(), strict=True)}
    return {"text": raw, "nats_per_token": mean, "perplexity": math.exp(mean), "next": following}


def chords(length: int, begin: int) -> torch.Tensor:
    """Two keys that climb together, five steps up and back to the first."""
    roll = torch.zeros(length, 88)
    for t in range(length):
        roll[t, [30 + (t + begin) % 5, 40 + (t + begin) % 5]] = 1
    return roll


def music(folder: Path) -> MusicModel:
    for part in ("train", "valid", "test"):
        (folder / part).mkdir(exist_ok=True)
        for i in range(20):
            write_midi(chords(6 + i % 3, i), folder / part / f"{i:02d}.mid")
    net = MusicNet(layer="gru", hidden=32, dropout=0.0)
    return MusicModel(MusicConfig(MusicData(path=str(folder), batch=10), net))


def songs(folder: Path) -> list[str]:
    for length in (3, 7, 1):
        write_midi(chords(length, length), folder / f"{length}.mid")
    return [str(folder / f"{length}.mid") for length in (3, 7, 1)]


def heard_by_stream(model: MusicModel, raw: str) -> dict[str, Any]:
    """The answer of `predict`, from what a stream expects before each frame."""
    roll, stream, nats = read_midi(raw).float(), model.stream(), []
    for frame in roll:
        nats.append(-float(stream.next.log_prob(frame)))
        stream.push(frame)
    following = [note_name(number) for number in stream.next.draw(0.0).nonzero()[:, 0].tolist()]
    return {"text": raw, "frames": len(roll), "nats_per_frame": sum(nats) / len(nats), "next": following}


def classify(folder: Path) -> TextClassifier:
    """Who it is decides, and "not" turns it round; a last word says nothing."""
    for part in ("train", "valid", "test"):
        rows = [
            f"{'good' if (who == 'Ann') != bool(no) else 'bad'}\t{who} {no}saw {what}."
            for who in ("Ann", "Ben")
            for no in ("", "not ")
            for what in "abcde"
        ]
        (folder / f"{part}.tsv").write_text("label\ttext\n" + "\n".join(rows), encoding="utf-8")
    net = TextNet(
        hidden=16, embedding=16, bidirectional=False, pooling="last+max+mean+attentive", dropout=0.1, subwords=50
    )
    data = TextData(path=str(folder), batch=10, least=1)
    return TextClassifier(TextClassifierConfig(data, net))


def classified_by_stream(model: Any, raw: str) -> dict[str, Any]:
    """The answer of `predict`, from a stream that read one step after the other."""
    stream = model.stream()
    for piece in raw.split(" ") if model.name == "classify" else parse_series(raw):
        named = stream.push(piece)
    best = max(named, key=lambda label: named[label])
    shown = f"{best}\t{named[best]:.4f}"
    return {"text": raw, "label": best, "probability": named[best], "probabilities": named, "shown": shown}


def classify_series(folder: Path) -> SequenceClassifier:
    """Rising and falling lines, with a channel that says nothing."""
    for part in ("TRAIN", "VALID", "TEST"):
        rows = [
            f"{','.join(str(i + way * t) for t in range(3 + i % 4))}:{','.join(['1'] * (3 + i % 4))}:{label}\n"
            for i in range(10)
            for way, label in ((1, "up"), (-1, "down"))
        ]
        (folder / f"lines_{part}.ts").write_text("@classLabel true up down\n@data\n" + "".join(rows))
    net = SeriesNet(hidden=16, bidirectional=False, pooling="last+max", dropout=0.1)
    return SequenceClassifier(SequenceClassifierConfig(SeriesData(path=str(folder), batch=10, noise=0.01), net))


PAIRS = [
    (f"{n} {c} {o}.", f"{m} {d} {p}.")
    for n, m in (("A", "Eine"), ("The", "Die"))
    for c, d in (("red", "rote"), ("old", "alte"), ("big", "große"))
    for o, p in (("cat", "Katze"), ("bag", "Tüte"), ("lady", "Frau"))
]


def translator(folder: Path) -> Translator:
    for part in ("train", "valid", "test"):
        for side, language in enumerate(("en", "de")):
            text = "".join(f"{pair[side]}\n" for pair in PAIRS)
            (folder / f"{part}.{language}").write_text(text, encoding="utf-8")
    data = TranslationData(path=str(folder), target="de", tokens="characters", batch=300)
    net = TranslationNet(layer="gru", embedding=32, hidden=32, dropout=0.0)
    return Translator(TranslationConfig(data, net, search=SearchConfig(beam=1)))


def translated_by_stream(model: Translator, raw: str) -> dict[str, Any]:
    """The answer of `predict`, piece by piece."""
    stream = model.stream(raw)
    whole, count = "".join(stream), len(stream.numbers) + 1
    return {"text": raw, "translation": whole, "nats_per_token": 0.0 - stream.nats / count, "shown": whole}


def tagger(folder: Path) -> Tagger:
    sentences = []
    for i in range(20):
        name, place = ("Ann", "Ben", "Cleo", "Dan")[i % 4], ("Rome", "Oslo", "Paris")[i % 3]
        sentences.append(Sentence((name, "lives", "in", "New", place), ("B-PER", "O", "O", "B-LOC", "I-LOC")))
    for part in ("train", "valid", "test"):
        write_conll(folder / f"{part}.conll", sentences)
    net = TagNet(words=8, hidden=8, character_features=6, dropout=0.1)
    return Tagger(TagConfig(TagData(path=str(folder), batch=10), net))


def wrong_columns(task: Tagger) -> None:
    with TemporaryDirectory() as place:
        (Path(place) / "a.conll").write_text("Ann B-PER\nlives\n", encoding="utf-8")
        task.evaluate(source=f"{place}/a.conll")


TONES = {"low": 300.0, "mid": 700.0, "top": 1500.0}  # what is said, and its pitch in hertz


def spoken(words: list[str], seed: int = 0) -> Sound:
    """Words as tones at 8 kHz, with a little noise between them."""
    random = torch.Generator().manual_seed(seed)
    pieces = [0.002 * torch.randn(400, generator=random)]
    for word in words:
        wave = 0.3 * torch.sin(2 * math.pi * TONES[word] * torch.arange(1200) / 8000)
        pieces += [wave * torch.hann_window(1200), 0.002 * torch.randn(400, generator=random)]
    return Sound(torch.cat(pieces), 8000)


def speech(folder: Path) -> SpeechRecognizer:
    utterances, kinds = [], list(TONES)
    for i in range(20):
        words = [kinds[i % 3], kinds[i // 3 % 3], kinds[i // 9]][: 1 + i % 3]
        path = folder / f"{i}.wav"
        if not path.exists():
            write_sound(path, spoken(words, i))
        utterances.append(Utterance(path, " ".join(words)))
    for part in ("train", "valid", "test"):
        write_manifest(folder / f"{part}.jsonl", utterances)
    data = SpeechData(path=str(folder), tokens="words", batch=1500)
    quiet = SpeechAugment(gap=0.02, speed=0.0, bands=0, stretches=0)
    net = SpeechNet(widths=(4,), strides=(4,), channels=24, hidden=24, depth=1, bidirectional=False, dropout=0.0)
    return SpeechRecognizer(SpeechConfig(data, SpeechFeatures(size=20), quiet, net))


def sounds(folder: Path) -> list[str]:
    for i, words in enumerate((["top", "low"], ["mid"], ["low", "low", "mid", "top"])):
        write_sound(folder / f"{i}.wav", spoken(words, 100 + i))
    write_sound(folder / "3.wav", Sound(torch.zeros(100), 8000))  # too short for a single frame
    return [str(folder / f"{i}.wav") for i in range(4)]


def said_by_stream(model: SpeechRecognizer, raw: str) -> dict[str, Any]:
    """The answer of `predict`, from a stream that heard blocks of 333 samples."""
    samples, stream = read_sound(raw).samples, model.stream()
    said = [one for block in samples.split(333) for one in stream.push(block) if one.final]
    return model.answer(said + stream.finish(), raw, len(samples) / 8000)


def empty_sound(task: SpeechRecognizer) -> None:
    with TemporaryDirectory() as place:
        write_sound(f"{place}/a.wav", Sound(torch.zeros(0), 8000))
        task.predict(f"{place}/a.wav")


def bad_manifest(task: SpeechRecognizer) -> None:
    with TemporaryDirectory() as place:
        (Path(place) / "a.jsonl").write_text('\n{"audio_filepath": "a.wav"\n', encoding="utf-8")
        task.evaluate(source=f"{place}/a.jsonl")


def tone(kind: str, seconds: float, take: int = 0) -> Tensor:
    """A word of a small language: "rise" goes up, "fall" goes down, "hold" stays."""
    time = torch.arange(round(4000 * seconds)) / 4000
    way = {"rise": 1.0, "fall": -1.0, "hold": 0.0}[kind]
    return 0.3 * torch.sin(2 * torch.pi * (600 + 10 * take + 400 * way * (time / seconds - 0.5)) * time)


def keywords(folder: Path) -> KeywordSpotter:
    utterances = []
    for take in range(8):
        for kind in ("rise", "fall", "hold"):
            write_sound(folder / f"{kind}{take}.wav", Sound(tone(kind, 0.3 + 0.02 * take, take), 4000))
            utterances.append(Utterance(folder / f"{kind}{take}.wav", kind))
    for part in ("train", "valid", "test"):
        write_manifest(folder / f"{part}.jsonl", utterances)
    data = KeywordData(path=str(folder), keywords=("rise",), rate=4000, speed=0.0, noise=0.3, minutes=0.5, batch=8)
    net = KeywordNet(features=12, hidden=24, dropout=0.0)
    return KeywordSpotter(KeywordConfig(data, net, AlarmConfig(false_alarms=0.0)))


def recordings(folder: Path) -> list[str]:
    said = (["rise"], ["fall", "rise", "hold", "rise"], ["hold", "fall"])
    for number, kinds in enumerate(said):
        pieces = [torch.cat([torch.zeros(1200), tone(kind, 0.35, number)]) for kind in kinds]
        write_sound(folder / f"{number}.wav", Sound(torch.cat([*pieces, torch.zeros(1500)]), 4000))
    return [str(folder / f"{number}.wav") for number in range(len(said))]


def spotted_by_stream(task: KeywordSpotter, raw: str) -> dict[str, Any]:
    """The answer of `predict`, from blocks of 37 ms."""
    sound, stream = read_sound(raw, 4000), task.stream()
    found = [alarm for block in sound.samples.split(148) for alarm in stream.push(block)]
    return task.told(raw, sound.seconds, found + stream.finish())


MOVES = {"left": (0, -1), "right": (0, 1), "stay": (0, 0)}


def moving(action: str, frames: int, begin: int = 0) -> Tensor:
    """A bright square before grey, which moves a pixel a frame and comes in again at the other side."""
    film = torch.full((frames, 3, 16, 16), 90 + 10 * (begin % 4), dtype=torch.uint8)
    for t, frame in enumerate(film):
        frame[:, 4:10, 2:8] = 220
        frame.copy_(frame.roll((begin + MOVES[action][0] * t, begin * 2 + MOVES[action][1] * t), (1, 2)))
    return film


def actions(folder: Path) -> ActionRecognizer:
    """A square that goes left, goes right or stays; films are longer than a window."""
    (folder / "films").mkdir(exist_ok=True)
    for number in range(21):
        path, action = folder / "films" / list(MOVES)[number % 3] / f"{number}.mkv", list(MOVES)[number % 3]
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            write_video(path, moving(action, 6 + number % 3, number), 10)
    films = str(folder / "films")
    data = ActionData(path=films, valid=films, test=films, batch=21, threads=1)
    view = ActionView(rate=10.0, size=(16, 16), window=6, stride=3)
    net = ActionNet(hidden=12, bidirectional=False, pooling="mean", features=12, widths=(8, 8), dropout=0.0)
    return ActionRecognizer(ActionConfig(data, view, ActionAugment(mirror=0.0, crop=0.9), net))


def moves(folder: Path) -> list[str]:
    for number, (action, frames) in enumerate((("left", 6), ("stay", 1), ("right", 16), ("left", 8))):
        write_video(folder / f"{number}.mkv", moving(action, frames, 5), 10)
    return [str(folder / f"{number}.mkv") for number in range(4)]


def watched_by_stream(task: ActionRecognizer, raw: str) -> dict[str, Any]:
    """The answer of `predict`, frame by frame."""
    stream = task.stream()
    for frame in read_frames(raw, 10, (16, 16)):
        stream.push(frame)
    return stream.answer(raw)


def a_film_of_something_new(task: ActionRecognizer) -> None:
    with TemporaryDirectory() as place:
        (Path(place) / "swim").mkdir()
        write_video(f"{place}/swim/a.mkv", moving("left", 3), 10)
        task.evaluate(source=place)


def walks(turning: float, number: int) -> list[tuple[float, float]]:
    """Four steps straight on, each as long as it is to turn after them, and three steps of the turn."""
    angle, x, y, found = 0.7 * number, 5.0 * number, -3.0 * number, []
    for step in range(7):
        found.append((x, y))
        angle += turning if step >= 3 else 0.0
        x, y = x + turning * math.cos(angle), y + turning * math.sin(angle)
    return found


def trajectory(folder: Path) -> TrajectoryPredictor:
    """Twenty people, four at a time; who walks fast turns more."""
    lines = [
        f"{10 * (10 * (number // 4) + step)} {number} {x} {y}"
        for number in range(20)
        for step, (x, y) in enumerate(walks(0.5 + 0.2 * (number % 4), number))
    ]
    for part in ("train", "val", "test"):
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "square.txt").write_text("\n".join(lines), encoding="utf-8")
    data = TrajectoryData(path=str(folder), observed=4, future=3, batch=20)
    net = TrajectoryNet(embedding=16, hidden=16, futures=2, code=4, social="grid", cells=2)
    return TrajectoryPredictor(TrajectoryConfig(data=data, model=net))


def walked_by_stream(task: TrajectoryPredictor, raw: dict[str, Any]) -> dict[str, Any]:
    """The answer of `predict`, from a stream to which people come one after another."""
    steps = max(len(points) for points in raw.values())
    stream, answer = task.stream(), {}
    for step in range(steps):
        here = {agent: points for agent, points in raw.items() if len(points) >= steps - step}
        answer = stream.push({agent: points[step - steps] for agent, points in here.items()})
    return answer


def walking_dot(number: int, steps: int) -> Tensor:
    """A bright dot that walks by one pixel a step, each film in its own row and way, up to a side."""
    frames = torch.zeros(steps, 1, 6, 12, dtype=torch.uint8)
    for step in range(steps):
        place = min(step, 11)
        frames[step, 0, number % 6, 11 - place if number % 2 else place] = 255
    return frames


def frames(folder: Path) -> FramePredictor:
    for part in ("train", "valid", "test"):
        (folder / part).mkdir(exist_ok=True)
        for number in range(4):
            if not (path := folder / part / f"{number}.mkv").exists():
                write_video(path, walking_dot(number, 10), 10)
    data = FramesData(path=str(folder), known=3, ahead=3, batch=10)
    return FramePredictor(FramesConfig(data, model=FramesNet(patch=2, reach=1, hidden=8, depth=1)))


def walks_of_dots(folder: Path) -> list[str]:
    for number, steps in enumerate((6, 3, 11)):
        write_video(folder / f"{number}.mkv", walking_dot(number, steps), 10)
    return [str(folder / f"{number}.mkv") for number in range(3)]


def foreseen_by_stream(task: FramePredictor, raw: str) -> dict[str, Any]:
    """The answer of `predict`, from a stream to which frames are pushed."""
    stream = task.stream()
    for frame in read_frames(raw, colours="grey"):
        stream.push(frame)
    return task.predict(raw) | {"read": stream.seen, "frames": stream.ahead(3).tolist()}


def too_short(task: FramePredictor) -> None:
    with TemporaryDirectory() as place:
        write_video(f"{place}/a.mkv", walking_dot(0, 2), 10)
        task.predict(f"{place}/a.mkv")


def forecast(folder: Path) -> Forecast:
    """Four saws of different heights, all of six steps."""
    rows = [f"{name},{t},{height * (t % 6) + 1}" for height, name in enumerate("abcd", 1) for t in range(60)]
    (folder / "saws.csv").write_text("unique_id,ds,y\n" + "\n".join(rows), encoding="utf-8")
    data = ForecastData(path=str(folder / "saws.csv"), split=(0.5, 0.25, 0.25), batch=20)
    net = ForecastNet(hidden=24, embedding=4, decoder=16, context=4, forks=6, dropout=0.0)
    measure = ForecastMeasure(baselines=("naive", "drift"))
    return Forecast(ForecastConfig(3, 12, data, net, ForecastOutput(), ForecastIntervals((50, 80)), measure))


def days(*stamps: str) -> dict[str, Any]:
    return {"ds": list(stamps), "y": [1.0] * len(stamps)}


def saws(folder: Path) -> list[dict[str, Any]]:
    raws = [{"unique_id": "a", "ds": list(range(9)), "y": [float(t % 6 + 1) for t in range(9)]}]
    raws += [{"unique_id": "d", "ds": [40, 41, 43], "y": [17.0, 21.0, 5.0]}]
    return [*raws, {"unique_id": "b", "ds": [7, 8], "y": [3.0, 5.0]}]


def moved_by_stream(task: Forecast, raw: dict[str, Any]) -> dict[str, Any]:
    """The answer of `predict`, from a stream that begins with the first row and is pushed the others."""
    stream = task.stream({name: column if name == "unique_id" else column[:1] for name, column in raw.items()})
    known = dict(zip(raw["ds"], raw["y"], strict=True))
    for stamp in range(raw["ds"][0] + 1, raw["ds"][-1] + 1):
        stream.push(known.get(stamp, math.nan))
    return task.told(stream.coming())[0]


TRIALS: dict[str, Trial] = {
    "actions": Trial(
        actions,
        Fit(steps=48, learning_rate=0.03, warmup=4, evaluate_every=24),
        moves,
        lambda measured: measured["accuracy"] == 1,
        watched_by_stream,
        [
            BadInput("no file", lambda task: task.predict("absent.mp4"), DataError, "no such file"),
            BadInput("no video", lambda task: task.predict(__file__), DataError, "cannot read the video"),
            BadInput("no film", lambda task: task.predict(3), DataError, "expected the name of a video or frames"),
            BadInput("no end", lambda task: task.predict("camera:0"), DataError, "never ends"),
            BadInput(
                "grey",
                lambda task: task.stream(torch.zeros(1, 16, 16).byte()),
                DataError,
                "expected frames (3, 16, 16)",
            ),
            BadInput("real numbers", lambda task: task.predict(torch.zeros(2, 3, 16, 16)), DataError, "of uint8"),
            BadInput(
                "a new label", a_film_of_something_new, DataError, "'swim' is not in training; known are 'left'"
            ),
            BadInput("no data", lambda task: task.evaluate(source="absent"), DataError, "absent"),
        ],
    ),
    "forecast": Trial(
        forecast,
        Fit(steps=80, learning_rate=0.03, warmup=5, evaluate_every=40),
        saws,
        lambda measured: measured["mase"] < 0.1,
        moved_by_stream,
        [
            BadInput("no columns", lambda task: task.predict("1 2 3"), DataError, "is not JSON"),
            BadInput("no stamps", lambda task: task.predict({"y": [1.0]}), DataError, "'ds' among them"),
            BadInput("no file", lambda task: task.evaluate(source="absent.csv"), DataError, "no file, folder or"),
            BadInput("days", lambda task: task.predict(days("2024-01-01")), DataError, "frequency is integer"),
        ],
    ),
    "frames": Trial(
        frames,
        Fit(steps=60, learning_rate=0.03, warmup=5, evaluate_every=60),
        walks_of_dots,
        lambda measured: measured["mse"] < 0.1 * measured["copy_mse"] and measured["ssim"] > 0.9,
        foreseen_by_stream,
        [
            BadInput("no film", lambda task: task.predict("absent.avi"), DataError, "no file, folder or data set"),
            BadInput("no name", lambda task: task.predict(3), DataError, "expected the name of a film"),
            BadInput("too short", too_short, DataError, "2 frames are there, expected data.known = 3"),
            BadInput("another shape", lambda task: task.stream(torch.zeros(3, 1, 8, 8).byte()), DataError, "(T, 1"),
            BadInput("no folder", lambda task: task.evaluate(source="absent"), DataError, "no file, folder or"),
        ],
        close=1e-3,
    ),
    "keywords": Trial(
        keywords,
        Fit(steps=60, learning_rate=0.02, warmup=5, evaluate_every=20),
        recordings,
        lambda measured: measured["misses"] == 0 and measured["false_alarms_per_hour"] == 0,
        spotted_by_stream,
        [
            BadInput("no file", lambda task: task.predict("absent.wav"), DataError, "no such file"),
            BadInput("no sound", lambda task: task.predict(3), DataError, "expected the name of a sound file"),
            BadInput(
                "whole numbers", lambda task: task.stream(torch.zeros(9, dtype=torch.int16)), DataError, "real"
            ),
            BadInput(
                "no folder", lambda task: task.evaluate(source="absent"), DataError, "no file, folder or data"
            ),
        ],
    ),
    "classify": Trial(
        classify,
        Fit(steps=60, learning_rate=0.02, warmup=5, evaluate_every=20),
        ["Ann saw b.", "Ben not saw e.", "Zoe", "Ben unseen saw Ann not not"],
        lambda measured: measured["accuracy"] == 1,
        classified_by_stream,
        [
            BadInput("no text", lambda task: task.predict(3), DataError, "expected a text"),
            BadInput("no file", lambda task: task.evaluate(source="absent.tsv"), DataError, "cannot read"),
        ],
    ),
    "classify_series": Trial(
        classify_series,
        Fit(steps=60, learning_rate=0.02, warmup=5, evaluate_every=20),
        ["1,2,3:1,1,1", "9,5:0,0", "3:7"],
        lambda measured: measured["accuracy"] == 1,
        classified_by_stream,
        [
            BadInput(
                "a channel too few", lambda task: task.predict("1,2"), DataError, "one value for each channel"
            ),
            BadInput("no numbers", lambda task: task.predict("up"), DataError, "expected numbers"),
            BadInput("no file", lambda task: task.evaluate(source="absent.ts"), DataError, "cannot read"),
        ],
    ),
    "language_model": Trial(
        language_model,
        Fit(steps=150, learning_rate=0.02, warmup=10, evaluate_every=50),
        ["Ann saw", "Ben hid the c", "An"],
        lambda measured: (
            measured["loss"] < 0.4
        ),  # a line is a draw of twenty: ln 20 nats in 14 characters, 0.21 each
        read_by_stream,
        [
            BadInput("an empty text", lambda task: task.predict(""), DataError, "at least one token"),
            BadInput("no file", lambda task: task.evaluate(source="absent.txt"), DataError, "cannot read"),
        ],
    ),
    "music": Trial(
        music,
        Fit(steps=150, learning_rate=0.02, warmup=10, evaluate_every=50),
        songs,
        lambda measured: measured["loss_after_first"] < 0.1,
        heard_by_stream,
        [
            BadInput("no file", lambda task: task.predict("absent.mid"), DataError, "cannot read"),
            BadInput("no folder", lambda task: task.evaluate(source="absent"), DataError, "cannot read"),
        ],
    ),
    "speech": Trial(
        speech,
        Fit(steps=40, learning_rate=0.03, warmup=5, evaluate_every=40),
        sounds,
        lambda measured: measured["wer"] == 0,
        said_by_stream,
        [
            BadInput("no file", lambda task: task.predict("absent.wav"), DataError, "no such file"),
            BadInput("no path", lambda task: task.predict(3), DataError, "expected the path of a sound file"),
            BadInput("no sample", empty_sound, DataError, "0 samples"),
            BadInput("no manifest", lambda task: task.evaluate(source="absent.jsonl"), DataError, "cannot read"),
            BadInput("a line that is not JSON", bad_manifest, DataError, "line 2: not JSON"),
        ],
        close=0,
    ),
    "trajectory": Trial(
        trajectory,
        Fit(steps=100, learning_rate=0.03, warmup=5, evaluate_every=50),
        [
            {"ann": walks(0.5, 3)[:4], "ben": walks(0.7, 3)[:4], "cleo": [(14.0, -8.0), (14.5, -8.0)]},
            {"ann": [(1.0, 2.0)]},
            {"7": walks(1.1, 7)[:6]},
        ],
        lambda measured: measured["ade"] < 0.3,  # of 1.86 that constant velocity has
        walked_by_stream,
        [
            BadInput("no file", lambda task: task.predict("absent.txt"), DataError, "there is no file absent.txt"),
            BadInput("no positions", lambda task: task.predict(3), DataError, "expected positions by agent"),
            BadInput("nobody", lambda task: task.predict({}), DataError, "got none"),
            BadInput("a gap", lambda task: task.stream().push({"a": (1.0, None)}), DataError, "x and y of agent"),
            BadInput("no number", lambda task: task.predict("1,2 3,nan"), DataError, "finite positions"),
            BadInput("no data", lambda task: task.evaluate(source="absent"), DataError, "no file, folder or data"),
        ],
    ),
    "translate": Trial(
        translator,
        Fit(steps=120, learning_rate=0.02, warmup=10, evaluate_every=40),
        ["A red bag.", "The old lady", "big"],
        lambda measured: measured["bleu"] == pytest.approx(100),
        translated_by_stream,
        [
            BadInput("no text", lambda task: task.predict(3), DataError, "expected sentences as str, got int"),
            BadInput("no file", lambda task: task.evaluate(source="absent"), DataError, "cannot read absent"),
        ],
    ),
    "tag": Trial(
        tagger,
        Fit(steps=60, learning_rate=0.03, warmup=5, evaluate_every=20),
        ["Ann lives in New Rome", "Ben", "does Cleo live in Oslo?"],
        lambda measured: measured["f1"] == 1,
        None,
        [
            BadInput("an empty token", lambda task: task.predict(["Ann", ""]), DataError, "not empty"),
            BadInput("no file", lambda task: task.evaluate(source="absent.conll"), DataError, "cannot read"),
            BadInput("a column is missing", wrong_columns, DataError, "line 2: expected 2 columns"),
        ],
    ),
}
