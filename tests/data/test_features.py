"""Features: those of Kaldi, and the same bits in a stream as in the whole, however it is cut."""

import math
import random

import pytest
import torch

from recurra import tree
from recurra.data.features import BLOCK, Cepstra, FilterBanks
from recurra.data.framing import Framing
from recurra.data.normalisation import Running, Statistics, UtteranceWise, normalised, statistics
from recurra.errors import ConfigError, DtypeError, NotCausalError, ShapeError

EDGES = ("snip", "reflect")


def noise(samples: int, seed: int = 1) -> torch.Tensor:
    """Noise with an offset and changing loudness."""
    random = torch.Generator().manual_seed(seed)
    loud = torch.linspace(0.01, 0.3, samples)
    return torch.randn(samples, generator=random) * loud + 0.02


def framed(samples: torch.Tensor, framing: Framing) -> torch.Tensor:
    """The frames by the formulas, sample by sample."""
    total, frames = len(samples), []
    for t in range(framing.count(total)):
        places = [t * framing.shift - framing.margin + i for i in range(framing.window)]
        while any(not 0 <= i < total for i in places):
            places = [-i - 1 if i < 0 else 2 * total - 1 - i if i >= total else i for i in places]
        frames.append(samples[places])
    return torch.stack(frames) if frames else torch.empty(0, framing.window)


def banks(samples: torch.Tensor, rate: int, size: int, framing: Framing) -> torch.Tensor:
    """Filter banks by the formulas in float64, with a Fourier transform that is a sum."""
    x = framed(samples.double(), framing)
    x = x - x.mean(1, keepdim=True)
    x = x - 0.97 * torch.cat([x[:, :1], x[:, :-1]], 1)
    i = torch.arange(framing.window).double()
    x = x * (0.5 - 0.5 * torch.cos(2 * math.pi * i / (framing.window - 1))) ** 0.85
    points = 1
    while points < framing.window:
        points *= 2
    bins = torch.arange(points // 2).double()
    angle = 2 * math.pi / points * bins[:, None] * i
    power = (x @ angle.cos().T) ** 2 + (x @ angle.sin().T) ** 2
    mel = lambda hertz: 1127 * math.log(1 + hertz / 700)
    low, high, filters = mel(20), mel(rate / 2), torch.zeros(size, points // 2).double()
    width = (high - low) / (size + 1)
    for m in range(size):
        for k in range(points // 2):
            distance = abs(mel(k * rate / points) - (low + (m + 1) * width))
            filters[m, k] = max(0.0, 1 - distance / width)
    return (power @ filters.T).clamp_min(torch.finfo(torch.float32).eps).log()


def cut(total: int, seed: int) -> list[int]:
    """Sizes of blocks that add up to ``total``, 0 and 1 among them."""
    choose, sizes = random.Random(seed), [0]
    while sum(sizes) < total:
        sizes.append(min(choose.choice([0, 1, 7, 79, 80, 81, 160, 800, 2900]), total - sum(sizes)))
    return sizes


def streamed(features, samples: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """Features of blocks of these sizes, pushed one after the other."""
    state, frames = features.initial(), []
    for block in samples.split(sizes):
        made, state = features.push(block, state)
        frames.append(made)
    return torch.cat([*frames, features.finish(state)])


def every(framing: Framing) -> list:
    below = FilterBanks(8000, 23, framing=framing)
    typical = Statistics(torch.full((23,), -5.0).double(), torch.full((23,), 2.0).double())
    return [below, Cepstra(8000, framing=framing), Running(below, typical, prior=3, window=7)]


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("samples", [0, 1, 39, 40, 61, 199, 200, 279, 280, 1999])
def test_frames_by_the_formulas(edges, samples):
    framing = Framing(8000, edges=edges)
    frames, state = framing.push(noise(samples), framing.initial())
    assert torch.equal(torch.cat([frames, framing.finish(state)]), framed(noise(samples), framing))


def test_frames_count_as_the_table_says():
    snip, reflect = Framing(8000), Framing(8000, edges="reflect")
    assert [snip.count(n) for n in (0, 199, 200, 279, 280, 8000)] == [0, 0, 1, 1, 2, 98]
    assert [reflect.count(n) for n in (0, 39, 40, 119, 120, 8000)] == [0, 0, 1, 1, 2, 100]


def test_windows_are_whole_samples():
    assert (Framing(100, 0.29).window, Framing(11_025).window, Framing(22_050).shift) == (29, 275, 220)


@pytest.mark.parametrize("edges", EDGES)
def test_little_of_a_stream_is_kept(edges):
    framing = Framing(8000, edges=edges)
    for features in every(framing):
        state = features.initial()
        for block in noise(40_000).split(801):
            _, state = features.push(block, state)
            kept = sum(leaf.untyped_storage().nbytes() for leaf in tree.leaves(state))
            assert kept <= 4 * 3 * framing.window + 1000


@pytest.mark.parametrize("edges", EDGES)
def test_filter_banks_by_the_formulas(edges):
    framing = Framing(8000, edges=edges)
    expected = banks(noise(3000), 8000, 23, framing)
    assert (FilterBanks(8000, 23, framing=framing)(noise(3000)) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("samples", [0, 150, 200, 361, (BLOCK + 3) * 80, 12_345])
def test_any_cut_gives_the_same_bits(edges, samples):
    sound = noise(samples)
    for features in every(Framing(8000, edges=edges)):
        whole = features(sound)
        assert whole.shape[1] == features.size
        for seed in range(4):
            assert torch.equal(streamed(features, sound, cut(samples, seed)), whole)
    assert len(whole) == Framing(8000, edges=edges).count(samples)


def test_a_stream_begins_with_what_the_whole_begins_with():
    sound = noise(9000)
    for features in every(Framing(8000)):
        begin = features(sound[:4321])
        assert torch.equal(begin, features(sound)[: len(begin)])


def test_a_state_is_tensors_and_pushing_leaves_it_as_it_was():
    for features in every(Framing(8000)):
        _, state = features.push(noise(3000), features.initial())
        kept = tree.map(torch.clone, state)
        first, _ = features.push(noise(500, 2), state)
        again, _ = features.push(noise(500, 2), tree.map(torch.clone, state))
        assert torch.equal(first, again)
        assert all(torch.equal(a, b) for a, b in zip(tree.leaves(state), tree.leaves(kept), strict=True))


def test_silence_is_the_floor_and_no_infinity():
    assert FilterBanks(8000)(torch.zeros(800)).unique().tolist() == pytest.approx([math.log(2**-23)])


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize(("rate", "size"), [(8000, 40), (16000, 80)])
def test_filter_banks_of_kaldi(edges, rate, size):
    kaldi = pytest.importorskip("kaldi_native_fbank")
    options = kaldi.FbankOptions()
    options.mel_opts.num_bins = size
    theirs = by_kaldi(kaldi.OnlineFbank, options, noise(rate // 2), rate, edges)
    ours = FilterBanks(rate, size, framing=Framing(rate, edges=edges))(noise(rate // 2))
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-3  # of the logarithm of the smallest powers
    assert (ours - theirs).abs().mean() < 1e-5


@pytest.mark.parametrize("edges", EDGES)
def test_cepstra_of_kaldi(edges):
    kaldi = pytest.importorskip("kaldi_native_fbank")
    options = kaldi.MfccOptions()
    options.use_energy = False
    theirs = by_kaldi(kaldi.OnlineMfcc, options, noise(4000), 8000, edges)
    ours = Cepstra(8000, framing=Framing(8000, edges=edges))(noise(4000))
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-3


def by_kaldi(kind, options, samples: torch.Tensor, rate: int, edges: str) -> torch.Tensor:
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = edges == "snip"
    made = kind(options)
    made.accept_waveform(rate, samples.tolist())
    made.input_finished()
    return torch.stack([torch.tensor(made.get_frame(i)) for i in range(made.num_frames_ready)])


def test_normalised_by_the_utterance():
    features = UtteranceWise(FilterBanks(8000))
    y = features(noise(8000))
    assert y.dtype == torch.float32
    assert y.mean(0).abs().max() < 1e-5
    assert (y.std(0, correction=0) - 1).abs().max() < 1e-5
    assert features(torch.zeros(800)).unique().tolist() == [0.0]
    assert features(noise(10)).shape == (0, 40)
    with pytest.raises(NotCausalError, match="running or none"):
        features.initial()
    with pytest.raises(NotCausalError):
        features.push(noise(8), None)


def test_normalised_by_what_was_heard():
    below = FilterBanks(8000, 5)
    typical = Statistics(torch.randn(5).double(), torch.rand(5).double() + 0.5)
    x, y = below(noise(2000)).double(), Running(below, typical, prior=3, window=4)(noise(2000))
    for t in range(len(x)):
        weights = torch.tensor([0.5 ** (t // 4 - i // 4) for i in range(t + 1)]).double()
        total = 3 + weights.sum()
        mean = (3 * typical.mean + weights @ x[: t + 1]) / total
        square = (3 * (typical.mean**2 + typical.deviation**2) + weights @ x[: t + 1] ** 2) / total
        assert torch.allclose(y[t].double(), (x[t] - mean) / (square - mean**2).sqrt(), atol=1e-5)


def test_statistics_and_kinds():
    below = FilterBanks(8000, 5)
    sounds = [below(noise(n, n)) for n in (800, 90, 3000)]
    found = statistics(sounds)
    assert torch.allclose(found.mean, torch.cat(sounds).double().mean(0))
    assert normalised(below, "none") is below
    assert isinstance(normalised(below, "utterance"), UtteranceWise)
    assert isinstance(normalised(below, "running", found), Running)
    for kind, typical, what in (("running", None, "needs the statistics"), ("all", found, "expected one of none")):
        with pytest.raises(ConfigError, match=what):
            normalised(below, kind, typical)
    with pytest.raises(ConfigError, match="a frame at least"):
        statistics([])


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: FilterBanks(8000, 120), "too many for 8000 samples per second"),
        (lambda: FilterBanks(8000, 0), "a bank or more"),
        (lambda: FilterBanks(8000, high=5000.0), "high <= 4000 Hz"),
        (lambda: Cepstra(8000, 24), "size <= banks, got 24 coefficients of 23"),
        (lambda: FilterBanks(8000, framing=Framing(16000)), "got one at 16000"),
        (lambda: Framing(8000, 0.01, 0.02), "step <= length"),
        (lambda: Framing(8000, edges="wrap"), "expected snip or reflect"),
        (lambda: Running(FilterBanks(8000, 5), Statistics(torch.zeros(4), torch.ones(4))), "expected statistics"),
    ],
)
def test_settings_that_cannot_be(make, what):
    with pytest.raises(ConfigError, match=what):
        make()


def test_samples_that_cannot_be():
    features = FilterBanks(8000)
    with pytest.raises(ShapeError, match=r"one channel \(N,\), got shape \(2, 8\)"):
        features(torch.zeros(2, 8))
    with pytest.raises(DtypeError, match="float32"):
        features(torch.zeros(8, dtype=torch.int16))
