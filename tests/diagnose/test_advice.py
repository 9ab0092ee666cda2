"""Words, tables and pictures of measured gradients: each sentence follows from its number."""

import io
from dataclasses import replace

import matplotlib.image
import pytest
import torch
from rich.console import Console

from recurra import GRU, LSTM, RNN, Stack, initialise
from recurra.diagnose.advice import advise, clip_at
from recurra.diagnose.gradient_pictures import draw
from recurra.diagnose.gradient_table import table
from recurra.diagnose.gradients import compare, gradients
from recurra.errors import ConfigError, RunError


@pytest.fixture(scope="module")
def found():
    """A layer that vanishes, one that explodes, and one that keeps, over 100 steps."""
    torch.manual_seed(0)
    x = 0.5 * torch.randn(2, 100, 3)
    loud, long = initialise.orthogonal_(RNN(3, 16), 1.8), initialise.chrono_(LSTM(3, 16), 2000)
    layers = {"quiet": RNN(3, 16), "loud": loud, "short": LSTM(3, 16, forget_bias=0.0), "long": long}
    return compare(layers, x, lambda y: y[:, -1].sum())


def only(result, what: str):
    return next(finding for finding in advise(result) if finding.what == what)


def test_a_vanishing_layer_is_told_with_its_numbers(found):
    layer, finding = found["quiet"].layers[0], only(found["quiet"], "vanishes")
    assert f"a factor of {layer.factor:.3g} a step" in finding.text
    assert f"under 1 % after {layer.horizon} of 100 steps" in finding.text
    assert "a gated cell" in finding.advice[0]
    assert f"a window of {layer.horizon} steps" in finding.advice[-1]
    assert not any("chrono" in text or "orthogonal" in text for text in finding.advice), "its U is orthogonal"


def test_an_exploding_layer_is_told_where_to_clip(found):
    result, finding = found["loud"], only(found["loud"], "explodes")
    limit = clip_at(result.layers[0], result)
    assert finding.advice[0].startswith(f"clip the gradient norm at {limit:g} ")
    assert 0 < limit < 0.1 * result.norm
    assert "from 1.8 to 1.8" in finding.advice[1]
    assert "at most" in finding.advice[-1]


def test_the_limit_is_the_norm_itself_where_all_of_it_comes_from_the_last_steps(found):
    result = found["quiet"]
    assert clip_at(result.layers[0], result) == pytest.approx(result.norm, rel=0.3)
    assert clip_at(result.layers[0], replace(result, norm=float("inf"))) == 1.0


def test_forget_bias_and_chrono_are_for_cells_that_have_them(found):
    advice = only(found["short"], "vanishes").advice
    assert advice[0] == "a forget bias of 1 (its mean is 0 now)"
    assert "chrono_(layer, 100)" in advice[1]
    gru = only(gradients(GRU(3, 8), torch.randn(1, 100, 3)), "vanishes").advice
    assert not any("forget bias" in text for text in gru)
    assert any("chrono" in text for text in gru)
    biased = only(gradients(LSTM(3, 8), torch.randn(1, 200, 3)), "vanishes").advice
    assert not any("forget bias" in text for text in biased)


def test_a_layer_that_keeps_is_left_alone(found):
    (finding,) = advise(found["long"])
    assert (finding.what, finding.advice) == ("steady", ())
    assert "felt over all 100 steps" in finding.text
    assert found["long"].layers[0].saturation["f"] > 0.9, "open on purpose, which is no trouble"


def test_orthogonal_where_it_is_not():
    layer = RNN(3, 8)
    with torch.no_grad():
        layer.U.mul_(0.3)
    assert any(
        "go from 0.3 to 0.3" in text for text in only(gradients(layer, torch.randn(1, 50, 3)), "vanishes").advice
    )


def test_saturated_layers():
    result = gradients(LSTM(3, 8), 100 * torch.randn(2, 30, 3))
    finding = only(result, "saturated")
    assert f"{result.layers[0].saturation['g']:.0%} of the values of g" in finding.text
    assert "inputs scaled" in finding.advice[0]
    assert "layer_norm_lstm" in finding.advice[1]


def test_what_is_not_finite_comes_first():
    x = torch.randn(1, 9, 3)
    x[0, 4] = torch.nan
    finding = advise(gradients(GRU(3, 4), x))[0]
    assert finding.what == "not finite"
    assert "the input of GRU is not finite, first at step 5 of 9" in finding.text


def test_words_name_layer_of_deep_networks():
    named = [finding.layer for finding in advise(gradients(Stack(GRU(3, 4), GRU(4, 4)), torch.randn(1, 9, 3)))]
    assert named == ["layers.0 GRU", "layers.1 GRU"]


def test_table(found):
    console = Console(width=200, file=io.StringIO())
    console.print(table(found))
    rows = console.file.getvalue().splitlines()
    assert " ".join(rows[0].split()) == "layer |dL/ds| end begin a step Lyapunov horizon singular values flat gates"
    assert [row.split()[0] for row in rows[1:]] == list(found)
    assert rows[1].split()[5] == str(found["quiet"].layers[0].horizon)
    assert "over 100" in rows[2]
    assert rows[1].split()[-1] == "none"
    assert f"f {found['long'].layers[0].saturation['f']:.0%}" in rows[4]


def test_picture(found, tmp_path):
    path = tmp_path / "gradients.png"
    draw(found, path, "four cells")
    image = matplotlib.image.imread(path)
    assert image.shape[0] > 600
    assert image.shape[1] > 1000
    for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0x00, 0x9E, 0x73)):  # the lines of the first cells
        near = (torch.tensor(image[..., :3]) - torch.tensor(color) / 255).abs().amax(-1) < 0.01
        assert near.sum() > 500


def test_pictures_of_deep_networks_and_of_odd_ones(tmp_path):
    deep = gradients(Stack(*[GRU(3, 3) for _ in range(10)]), torch.randn(1, 1, 3))
    dead = RNN(2, 3, "relu")
    torch.nn.init.constant_(dead.b, -100.0)
    odd = {"dead": gradients(dead, torch.randn(1, 9, 2))}
    odd["broken"] = gradients(RNN(2, 3), torch.full((1, 5, 2), torch.nan))
    draw({**odd, "deep": deep}, tmp_path / "odd.png")
    assert (tmp_path / "odd.png").stat().st_size > 10_000
    with pytest.raises(ConfigError, match="at least one layer"):
        draw({}, tmp_path / "none.png")
    with pytest.raises(RunError, match="cannot write"):
        draw(deep, tmp_path / "nowhere" / "a.png")
