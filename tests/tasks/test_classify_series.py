"""The classifier of sequences of numbers: its standardising, its pictures, its answers as a program."""

from pathlib import Path

import pytest
import torch

from recurra.errors import ConfigError, DataError, RunError
from recurra.run.fit import Fit
from recurra.tasks import SequenceClassifier
from recurra.tasks.classify_series import SequenceClassifierConfig, SeriesData, SeriesNet


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SequenceClassifier:
    """Rising and falling first channels beside one of large numbers that says nothing."""
    folder = tmp_path_factory.mktemp("series")
    torch.manual_seed(0)
    lines = ["@classLabel true up down", "@data"]
    for i in range(40):
        steps, way = 4 + i % 5, 1 if i % 2 else -1
        first = [f"{way * t + float(torch.randn(())):.3f}" for t in range(steps)]
        second = [f"{1000 + 200 * float(torch.randn(())):.1f}" for _ in range(steps)]
        lines.append(f"{','.join(first)}:{','.join(second)}:{'up' if way > 0 else 'down'}")
    (folder / "moves.ts").write_text("\n".join(lines) + "\n")
    data = SeriesData(path=str(folder / "moves.ts"), split=(0.6, 0.2, 0.2), batch=8, noise=0.1)
    model = SequenceClassifier(SequenceClassifierConfig(data, SeriesNet(hidden=8)))
    model.fit(folder / "run", Fit(steps=40, learning_rate=0.02, warmup=5, evaluate_every=20), quiet=True)
    return model


def test_it_learns_and_standardises_by_the_training_part(trained: SequenceClassifier) -> None:
    assert trained.evaluate("test")["accuracy"] >= 0.8
    frames = torch.cat([item.x for item in trained.data().train.rows])
    assert torch.allclose(frames.mean(0), torch.zeros(2), atol=1e-4)
    assert torch.allclose(frames.std(0, correction=0), torch.ones(2), atol=1e-4)


def test_answers_to_text_tensors_and_lists_are_the_same(trained: SequenceClassifier) -> None:
    x = torch.tensor([[0.0, 1000], [1, 1100], [2, 900], [3, 1000]])
    line = ":".join(",".join(f"{value}" for value in channel.tolist()) for channel in x.T)
    named = trained.predict(line)
    assert named["label"] == "up"
    assert named["text"] == line
    assert trained.predict(x) == trained.predict(x.tolist()) == {k: v for k, v in named.items() if k != "text"}


def test_noise_is_for_training_only(trained: SequenceClassifier) -> None:
    data = trained.data()
    batch, again = (data.train.epoch(1)[0] for _ in range(2))
    assert torch.equal(batch.x, again.x)
    row = data.train.rows[int(batch.rows[0])].x
    off = batch.x[0, : len(row)] - row
    assert 0.02 < float(off.std()) < 0.3
    valid = data.valid.epoch(0)[0]
    assert torch.equal(valid.x[0, : int(valid.lengths[0])], data.valid.rows[int(valid.rows[0])].x)


def test_pictures(trained: SequenceClassifier, tmp_path: Path) -> None:
    paths = trained.draw_answer("0,1,2:1000,900,1000", tmp_path, "one")
    paths += trained.draw_measured(trained.held_out("valid"), tmp_path)
    assert [path.name for path in paths] == ["one.png", "confusion.png"]
    assert all(path.stat().st_size > 5000 for path in paths)


def test_mistakes(trained: SequenceClassifier) -> None:
    with pytest.raises(DataError, match=r"predict: expected frames of shape \(T, 2\), one value for each channel"):
        trained.predict(torch.zeros(3, 4))
    with pytest.raises(DataError, match="predict: expected numbers"):
        trained.predict([["a"]])
    for change, message in (
        ({"batch": 0}, r"data\.batch: expected at least 1, got 0"),
        ({"noise": -1.0}, r"data\.noise: expected 0 or more"),
        ({"split": (1.0, 0.0, 0.0)}, r"data\.split: expected three shares"),
    ):
        with pytest.raises(ConfigError, match=message):
            SequenceClassifierConfig(data=SeriesData(**change))
    with pytest.raises(RunError, match="no mean and deviation"):
        SequenceClassifier().relearn({"labels": ["a", "b"], "temperature": 1.0})
    with pytest.raises(RunError, match="knows no channels yet"):
        SequenceClassifier().network()
