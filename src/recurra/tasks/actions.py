"""Recognition of actions: what somebody does in a film, or by the joints of a body, in clips or while it goes on.

Single frames are read by a small convolutional network, and a memory reads what it saw (LRCN, Donahue et al. 2015);
or the memory is itself over maps (Shi et al. 2015); or joints go to a memory that may read from both ends. There is
one label for a clip, one for each window of a longer film, and in a stream one after each frame.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from recurra import files
from recurra.data.ahead import Ahead
from recurra.data.batches import RowBatches
from recurra.data.decoding import is_camera
from recurra.data.splits import Parts
from recurra.errors import ConfigError, DataError, NotCausalError, RunError
from recurra.heads.calibration import calibration_error, fit_temperature
from recurra.heads.confusion import accuracy, confusion, macro_f1
from recurra.heads.warping import nearest
from recurra.kernels import dispatch
from recurra.run import checkpoint
from recurra.run.protocol import Batches, Data
from recurra.tasks.actions_answers import Seen, joined, told
from recurra.tasks.actions_config import ActionAugment, ActionConfig, ActionData, ActionNet, ActionView
from recurra.tasks.actions_films import Films
from recurra.tasks.actions_input import Input, Window, cut
from recurra.tasks.actions_joints import Bodies
from recurra.tasks.actions_network import encoder_of, film_network, joint_network, memories_of
from recurra.tasks.actions_pictures import Strip, draw_memory, draw_strip, moments
from recurra.tasks.actions_stream import ActionStream, Watch
from recurra.tasks.classifier import Items, Labeller
from recurra.tasks.classifier_network import ClassifierNetwork, make_network, members_of, together

__all__ = ["ActionAugment", "ActionConfig", "ActionData", "ActionNet", "ActionRecognizer", "ActionView"]

AT_ONCE = 16  # windows that are answered together
LIMIT = 2**31  # bytes of frames that are held of a film without windows


class ActionRecognizer(Labeller):
    """A recognizer that is trained on labelled films, or on joints, and says what is done in others.

    >>> model = ActionRecognizer(ActionConfig(ActionData(path="clips")))                # doctest: +SKIP
    >>> model.fit("runs/clips")                                                         # doctest: +SKIP
    >>> model.predict("new.mp4")["label"]                                               # doctest: +SKIP

    encoder  a module of your own that reads single frames, in place of the `FrameEncoder` that the configuration
             describes: (N, C, M, N) from -1 to 1 -> (N, F), C twice as much where model.sees is "both"; or maps,
             for a convolutional memory. A run that was trained with one is loaded with one
    """

    name = "actions"
    unit = "clips"
    Config = ActionConfig
    config: ActionConfig

    def __init__(self, config: ActionConfig | None = None, encoder: nn.Module | None = None) -> None:
        super().__init__(config)
        if encoder is not None and self.config.data.input != "films":
            raise ConfigError("encoder: joints are read as they are; an encoder reads the frames of films")
        self.encoder = encoder
        self.input: Input = Films(self.config) if self.config.data.input == "films" else Bodies(self.config)

    @classmethod
    def load(cls, path: str | Path, encoder: nn.Module | None = None) -> Self:
        """Read a run folder; with the ``encoder`` that it was trained with, if that was your own.

        Raises RunError if something is missing, cut off, another task's, or does not fit the encoder.
        """
        return cls(cls.configured(path), encoder).restored(path)

    def rows(self) -> Parts:
        return self.input.parts()

    def rows_of(self, source: str) -> tuple[list[Any], str]:
        return self.input.rows_of(source)

    def learn(self, examples: list[Any]) -> None:
        self.input.learn(examples)

    def data(self) -> Data:
        """The clips in three parts, those of the training decoded ahead."""
        found = super().data()
        return Data(Ahead(found.train, self.config.data.threads), found.valid, found.test)

    def batches(self, examples: list[Any], training: bool = False) -> RowBatches:
        view, labels = self.config.view, self.numbers(examples)
        counts = [self.input.count(example) for example in examples]
        windows = [
            Window(example, begin, end, label, row)
            for row, (example, label, count) in enumerate(zip(examples, labels, counts, strict=True))
            for begin, end in cut(count, view.window, view.step)
        ]
        if short := sum(count < view.window for count in counts):
            self.say(
                f"{short} of {len(counts)} clips are shorter than a window of {view.window} frames and are read as "
                "they are"
            )
        lengths = [window.end - window.begin for window in windows]
        if training:
            return RowBatches(windows, lengths, self._disturbed, self.config.data.batch, "rows", True, 8)
        return RowBatches(windows, lengths, self._read, AT_ONCE)

    def _disturbed(self, windows: list[Window], random: torch.Generator) -> Items:
        return _side_by_side([self.input.disturbed(window, random) for window in windows], windows)

    def _read(self, windows: list[Window], random: torch.Generator) -> Items:
        return _side_by_side([self.input.read(window) for window in windows], windows)

    def network(self) -> nn.Module:
        return make_network(self.config.model.members, self._member)

    def _member(self) -> ClassifierNetwork:
        if isinstance(self.input, Bodies):
            return joint_network(self.config, self.input.size, len(self.labels))
        return film_network(self.config, len(self.labels), self.encoder)

    def begin(self, network: nn.Module) -> None:
        """Put the weights of ``model.encoder`` into the part that reads single frames."""
        path = Path(self.config.model.encoder)
        for encoder in self._encoders(network) if self.config.model.encoder else ():
            checkpoint.load_weights(encoder, files.read_tensors(path), path)

    def parts(self, network: nn.Module) -> dict[str, list[nn.Parameter]]:
        """The encoder of single frames, which has a pace of its own, and the rest."""
        own = [parameter for encoder in self._encoders(network) for parameter in encoder.parameters()]
        known = {id(parameter) for parameter in own}
        return {"encoder": own, "rest": [one for one in network.parameters() if id(one) not in known]}

    def pace(self, part: str, share: float) -> float:
        return self.config.model.encoder_pace if part == "encoder" else 1.0

    def _encoders(self, network: nn.Module) -> list[nn.Module]:
        return [encoder for member in members_of(network) if (encoder := encoder_of(member)) is not None]

    @torch.no_grad()
    def windows(self, network: nn.Module, batches: Batches) -> tuple[Tensor, Tensor, Tensor]:
        """The logits ``(N, classes)`` of all windows, the numbers of their labels and of their clips ``(N,)``."""
        device, found = next(network.parameters()).device, []
        for batch in batches.epoch(0):
            logits = together(network(batch.x.to(device), batch.lengths).float()).cpu()
            found.append((logits, batch.labels, batch.rows))
        logits, labels, rows = (torch.cat(part) for part in zip(*found, strict=True))
        return logits, labels, rows

    def answers(self, network: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
        """Log probabilities ``(N, classes)`` of clips, the mean over their windows, and the labels ``(N,)``."""
        logits, labels, rows = self.windows(network, batches)
        clips = joined(logits / self.temperature, rows)
        return clips, labels.new_empty(len(clips)).scatter(0, rows, labels)

    def measure(self, network: nn.Module, batches: Batches) -> dict[str, float]:
        """Accuracy, the share of labels among the five likeliest, macro F1, nats a clip, calibration."""
        logits, labels = self.answers(network, batches)
        counts = confusion(logits.argmax(1), labels, len(self.labels))
        five = logits.topk(min(5, len(self.labels))).indices
        return {
            "accuracy": accuracy(counts),
            "top_5": float((five == labels[:, None]).any(1).float().mean()),
            "macro_f1": macro_f1(counts),
            "loss": float(cross_entropy(logits, labels)),
            "calibration_error": calibration_error(logits.softmax(1), labels),
        }

    def finish(self, data: Data) -> None:
        """Fit the temperature of the probabilities on the windows of the validation part (Guo et al. 2017)."""
        self.temperature = fit_temperature(*self.windows(self.ready(), data.valid)[:2])

    def evaluate(self, part: str = "test", source: str | None = None) -> dict[str, float]:
        """`measure`, and frames a second, decoding included; of joints also what the nearest known clip says.

        The latter is the accuracy of the nearest neighbour by dynamic time warping (`recurra.heads.warping`), over
        the places that the network reads; velocities, which it reads too, would make the neighbour worse. It needs
        the training clips, so there is none for another ``source``.
        """
        batches, begin = self.held_out(part, source), time.perf_counter()
        measured = self.measure(self.ready(), batches)
        frames = sum(batches.lengths)  # type: ignore[attr-defined]
        measured["frames_per_second"] = frames / (time.perf_counter() - begin)
        if isinstance(self.input, Bodies) and source is None:
            measured["warping"] = self._warping(self.input, part)
        return measured

    def _warping(self, bodies: Bodies, part: str) -> float:
        """The share of clips that have the label of the nearest training clip."""
        rows = bodies.parts()
        known, asked = rows.train, getattr(rows, part)
        near = nearest([bodies.places(one) for one in asked], [bodies.places(one) for one in known])
        right = [known[int(number)].label == one.label for number, one in zip(near, asked, strict=True)]
        return sum(right) / max(1, len(right))

    def signatures(self) -> dict[str, str]:
        return {
            "top_5": "share of clips whose label is among the five likeliest",
            "macro_f1": "mean over the labels",
            "loss": "nats a clip",
            "frames_per_second": "decoding included",
            "warping": "accuracy of the nearest training clip by dynamic time warping",
        }

    def predict(self, raw: Any) -> dict[str, Any]:
        """What is done in a film, or by the joints of a body.

        raw  the name of a video or of a folder of images, a `Clip`, or frames ``(T, C, M, N)`` uint8; joints
             ``(T, J, D)``, a `Joints`, or a line of JSON such as ``{"joints": [[[x, y], ...], ...]}``

            {"text", "label", "probability", "probabilities", "seconds", "windows", "actions", "shown"}

        as `recurra.tasks.actions_answers.told` says. Of a long film only one window is in memory at a time.
        """
        self.ready()
        if isinstance(raw, str) and is_camera(raw):
            raise DataError(f"predict: {raw} never ends; watch it with: recurra watch RUN {raw}")
        name = str(raw) if isinstance(raw, str | Path) and not isinstance(self.input, Bodies) else ""
        seen = list(self._seen(self._cut(self.input.frames(raw, "predict"))))
        return told(seen, self.labels, self.config.view.rate, name)

    def _cut(self, frames: Iterator[Tensor]) -> Iterator[tuple[int, Tensor]]:
        """The windows of frames that come one by one, as `cut` has them: where each begins, and its frames."""
        view, begin, fresh, held = self.config.view, 0, 0, list[Tensor]()
        for frame in frames:
            held, fresh = [*held, frame] if view.window else _kept(held, frame), fresh + 1
            if len(held) == view.window:
                yield begin, torch.stack(held)
                begin, fresh, held = begin + view.step, 0, held[view.step :]
        if fresh:
            yield begin, torch.stack(held)

    @torch.no_grad()
    def _seen(self, windows: Iterator[tuple[int, Tensor]]) -> Iterator[Seen]:
        network = self.ready()
        while some := list(islice(windows, AT_ONCE)):
            lengths = torch.tensor([len(frames) for _, frames in some])
            x = pad_sequence([frames for _, frames in some], batch_first=True)
            chances = (together(network(x, lengths).float()) / self.temperature).softmax(1)
            for (begin, frames), row in zip(some, chances, strict=True):
                yield Seen(begin, begin + len(frames), row)

    def stream(self, raw: Any = None) -> ActionStream:
        """An `ActionStream` that has seen ``raw``: push frames, or joints, and it says what is being done.

        Raises NotCausalError for a network that reads from both ends, and for joints that are centred by the clip.
        """
        network, view = self.ready(), self.config.view
        if not network.causal:
            raise NotCausalError(
                "actions: this network reads from both ends and cannot answer before the end; to stream, train one "
                "that reads from the beginning: recurra train ... --set model.bidirectional=false"
            )
        watch = Watch(self.labels, self.temperature, view.rate, view.window, view.step)
        stream = ActionStream(network, self.input, watch)
        if raw is not None:
            stream.push(raw)
        return stream

    def questions(self, source: str) -> list[Any]:
        """The films of a list or a folder, or the sequences of a file of joints; their labels are not read."""
        examples, note = self.rows_of(source)
        self.say(note)
        return examples if isinstance(self.input, Bodies) else [str(shot.path) for shot in examples]

    def explain(self) -> str:
        """Which kernel runs for a training batch."""
        network, windows = self.ready(), [Window(None, 0, 32, 0, row) for row in range(self.config.data.batch)]
        batch = _side_by_side([self.input.some(32) for _ in windows], windows)
        with dispatch.record() as log, torch.no_grad():
            network(batch.x, batch.lengths)
        return "\n".join(dict.fromkeys(str(decision) for decision in log))

    @torch.no_grad()
    def draw_answer(self, raw: Any, folder: Path, name: str) -> list[Path]:
        """Frames with the chances after each, and what the memory held in the first window."""
        network, view, answer = self.ready(), self.config.view, self.predict(raw)
        pictures, frames = self.input.shown(raw), torch.stack(list(self.input.frames(raw, "predict")))
        places = moments(len(frames))
        parts = ((0, frames[max(0, place + 1 - (view.window or place + 1)) : place + 1]) for place in places)
        chances = torch.stack([seen.chances for seen in self._seen(iter(parts))])
        title = f"{answer['label']} with probability {answer['probability']:.3f}"
        seconds = [(place + 1) / view.rate for place in places]
        strip, memory = folder / f"{name}.png", folder / f"{name}_memory.png"
        draw_strip(Strip(pictures[places], seconds, chances, title), self.labels, strip)
        held = memories_of(members_of(network)[0], frames[: view.window or len(frames)])
        draw_memory(held, view.rate, memory)
        return [strip, memory]

    def learned(self) -> dict[str, Any]:
        return super().learned() | {"own_encoder": self.encoder is not None} | self.input.learned()

    def relearn(self, values: dict[str, Any]) -> None:
        super().relearn(values)
        self.input.relearn(values)
        if bool(values.get("own_encoder")) != (self.encoder is not None):
            raise RunError(
                "this run was trained with an encoder of its own: ActionRecognizer.load(folder, encoder)"
                if self.encoder is None
                else "this run was trained without an encoder of its own: ActionRecognizer.load(folder)"
            )


def _side_by_side(clips: Sequence[Tensor], windows: Sequence[Window]) -> Items:
    lengths = torch.tensor([len(clip) for clip in clips])
    labels, rows = (torch.tensor([getattr(window, name) for window in windows]) for name in ("label", "row"))
    return Items(pad_sequence(list(clips), batch_first=True), lengths, labels, rows)


def _kept(held: list[Tensor], frame: Tensor) -> list[Tensor]:
    """All frames so far with one more, as long as they fit into memory."""
    held.append(frame)
    if len(held) * frame.numel() * frame.element_size() > LIMIT:
        raise DataError(
            f"predict: {len(held)} frames are more than {LIMIT >> 30} GiB; train with a window, such as "
            "--set view.window=24, which is all of a film that is in memory then"
        )
    return held
