"""How near predicted frames are to those that came: MSE, MAE, PSNR, and SSIM (Wang et al. 2004).

    PSNR = -10 log10(MSE)                                    dB, of values from 0 to 1
    SSIM = (2 m_x m_y + a)(2 s_xy + b) / ((m_x^2 + m_y^2 + a)(s_x^2 + s_y^2 + b))      a = 0.01^2, b = 0.03^2

m, s^2 and s_xy are means, variances and the covariance under a Gaussian window of 11 x 11 places, of standard
deviation 1.5; SSIM is averaged over all windows that lie within the frame, and over its channels.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from recurra.errors import ShapeError

__all__ = ["frame_scores", "psnr", "ssim"]

WINDOW, DEVIATION = 11, 1.5  # places, as in the paper
STEADY = (0.01**2, 0.03**2)  # what keeps quotients of dark or even places from blowing up
LEAST = 1e-10  # mean squared error of which PSNR knows: frames that are equal have 100 dB, not infinitely many


def frame_scores(found: Tensor, came: Tensor) -> dict[str, Tensor]:
    """Scores ``(...)`` of frames ``(..., C, M, N)`` from 0 to 1, each frame by itself."""
    if found.shape != came.shape or found.dim() < 3:
        raise ShapeError(
            f"expected frames (..., C, M, N) of one shape, got {tuple(found.shape)}, {tuple(came.shape)}"
        )
    off, places = found - came, (-3, -2, -1)
    square = off.square().mean(places)
    return {"mse": square, "mae": off.abs().mean(places), "psnr": psnr(square), "ssim": ssim(found, came)}


def psnr(square: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, of mean squared errors of values from 0 to 1; 100 dB at most."""
    return -10 * square.clamp_min(LEAST).log10()


def ssim(found: Tensor, came: Tensor) -> Tensor:
    """Structural similarity ``(...)`` of frames ``(..., C, M, N)`` from 0 to 1: 1 for equal ones.

    A frame with a side below 11 places has a window as large as its shorter side, made odd.
    """
    *before, channels, height, width = found.shape
    x, y = (frames.reshape(-1, 1, height, width) for frames in (found, came))
    side = min(WINDOW, height, width)
    line = _line(side - 1 + side % 2).to(x)
    mean = lambda maps: conv2d(conv2d(maps, line[None, None, :, None]), line[None, None, None])
    m_x, m_y = mean(x), mean(y)
    v_x, v_y, v_xy = mean(x * x) - m_x * m_x, mean(y * y) - m_y * m_y, mean(x * y) - m_x * m_y
    a, b = STEADY
    near = (2 * m_x * m_y + a) * (2 * v_xy + b) / ((m_x * m_x + m_y * m_y + a) * (v_x + v_y + b))
    return near.mean((1, 2, 3)).view(*before, channels).mean(-1)


def _line(side: int) -> Tensor:
    """The window along one direction; its product with itself is the whole."""
    places = torch.arange(side, dtype=torch.float64) - side // 2
    weights = torch.exp(-places.square() / (2 * DEVIATION**2))
    return weights / weights.sum()
