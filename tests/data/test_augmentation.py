"""Augmentation: what changes, by how much, and the same for the same generator."""

import math

import pytest
import torch

from recurra.data.audio import Sound
from recurra.data.augmentation import Noise, SpecAugment, Speed
from recurra.errors import ConfigError


def random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loudness(samples: torch.Tensor) -> float:
    return 20 * math.log10(float(samples.square().mean().sqrt()))


SOUND = Sound(0.1 * torch.randn(8000, generator=random(9)), 8000)


def test_spectra_have_gaps_of_the_sizes_asked_for():
    features = torch.randn(50, 12, generator=random()) + 3
    kept = features.clone()
    widths, lengths = set(), set()
    for seed in range(60):
        hidden = SpecAugment(bands=1, width=4, stretches=1, steps=9, share=0.1)(features, random(seed)) != features
        columns, rows = hidden.all(0), hidden.all(1)
        assert torch.equal(hidden, columns | rows[:, None])
        widths.add(int(columns.sum()))
        lengths.add(int(rows.sum()))
        for gap in (columns, rows):
            places = gap.nonzero().flatten()
            assert len(places) == 0 or int(places[-1] - places[0]) + 1 == len(places), "one stretch"
    assert widths == {0, 1, 2, 3, 4}
    assert lengths == {0, 1, 2, 3, 4, 5}, "a tenth of the frames"
    assert torch.equal(features, kept)


def test_what_is_hidden_is_the_mean():
    features = torch.randn(20, 6, generator=random()) + 3
    made = SpecAugment(bands=1, width=6, stretches=0)(features, random(5))
    column = (made != features).any(0).nonzero()[0, 0]
    assert torch.allclose(made[:, column], features[:, column].mean().expand(20))
    assert SpecAugment()(torch.empty(0, 6), random()).shape == (0, 6)


def test_speed_changes_length_and_pitch():
    pytest.importorskip("soxr")
    tone = Sound(torch.sin(torch.arange(8000) * (2 * math.pi * 1000 / 8000)), 8000)
    for factor in (0.8, 1.0, 1.25):
        made = Speed(factor, factor)(tone, random())
        assert made.rate == 8000
        assert len(made.samples) == pytest.approx(8000 / factor, abs=2)
        peak = int(torch.fft.rfft(made.samples).abs().argmax()) * 8000 / len(made.samples)
        assert peak == pytest.approx(1000 * factor, rel=0.01)
    lengths = {len(Speed()(tone, random(seed)).samples) for seed in range(20)}
    assert len(lengths) > 10
    assert min(lengths) >= 8000 / 1.1 - 2
    assert max(lengths) <= 8000 / 0.9 + 2


@pytest.mark.parametrize("recordings", [(), (Sound(torch.linspace(-1, 1, 777), 8000),)])
def test_noise_is_as_loud_as_asked_for(recordings):
    for decibels in (0.0, 17.0):
        made = Noise(decibels, decibels, recordings)(SOUND, random())
        assert loudness(SOUND.samples) - loudness(made.samples - SOUND.samples) == pytest.approx(decibels, abs=0.01)
    drawn = [
        loudness(SOUND.samples) - loudness(Noise(10, 30, recordings)(SOUND, random(seed)).samples - SOUND.samples)
        for seed in range(40)
    ]
    assert min(drawn) > 9.9
    assert max(drawn) < 30.1
    assert max(drawn) - min(drawn) > 12


def test_hiss_has_many_colours():
    shares = []
    for seed in range(30):
        noise = Noise(0, 0)(SOUND, random(seed)).samples - SOUND.samples
        power = torch.fft.rfft(noise).abs().square()
        shares.append(float(power[:400].sum() / power.sum()))  # below 400 Hz
    assert min(shares) < 0.2
    assert max(shares) > 0.9


def test_the_same_generator_gives_the_same():
    for make in (
        lambda seed: Noise()(SOUND, random(seed)).samples,
        lambda seed: SpecAugment()(SOUND.samples.view(100, 80), random(seed)),
    ):
        assert torch.equal(make(3), make(3))
        assert not torch.equal(make(3), make(4))


def test_silence_stays_silence():
    assert Noise()(Sound(torch.zeros(80), 8000), random()).samples.abs().max() == 0
    assert len(Noise()(Sound(torch.zeros(0), 8000), random()).samples) == 0


def test_settings_that_cannot_be():
    for make, what in (
        (lambda: SpecAugment(share=1.5), "a share from 0 to 1"),
        (lambda: SpecAugment(bands=-1), "numbers from 0 on"),
        (lambda: Speed(0.0), "0 < least <= most"),
        (lambda: Noise(30, 10), "got 30 and 10 decibels"),
        (lambda: Noise(recordings=(Sound(torch.zeros(0), 8000),)), "has no samples"),
        (lambda: Noise(recordings=(Sound(torch.zeros(9), 16_000),))(SOUND, random()), "expected 8000 samples"),
    ):
        with pytest.raises(ConfigError, match=what):
            make()
