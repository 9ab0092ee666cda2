"""The linear recurrence: its definition, a parallel form in plain PyTorch, and the face that its variants share.

    h_t = a_t * h_{t-1} + b_t          elementwise, for t = 1 .. T, from h_0 = first

Two steps in a row are one step of the same kind, ``(a_2 a_1) h + (a_2 b_1 + b_2)``, so all states can be found by
pairing steps, log2 T times, instead of one after another (Blelloch, "Prefix sums and their applications", 1990;
for recurrences Kogge and Stone 1973, and Martin and Cundy 2018). Past the end of a row the state stands still.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurra import lengths as ragged
from recurra.errors import DtypeError, ShapeError, UnstableError
from recurra.kernels.dispatch import Op

__all__ = ["ScanCall", "check_stable", "double", "gradients", "linear_scan", "scan"]


@dataclass(frozen=True)
class ScanCall:
    """One run over a batch; the value that every variant takes. Numbers are real or complex, all of one type.

    Padding in a and b may hold anything and is never read; padding in h is zero.
    Raises ShapeError or DtypeError if the tensors do not fit each other.
    """

    a: Tensor  # (B, T, H), or (H,) the same for all rows and steps
    b: Tensor  # (B, T, H)
    first: Tensor  # (B, H)
    lengths: Tensor | None = None  # (B,) on the CPU

    def __post_init__(self) -> None:
        b, shape = self.b, tuple(self.b.shape)
        if b.dim() != 3:
            raise ShapeError(f"scan: expected b of shape (B, T, H), got {shape}")
        if tuple(self.a.shape) != (shape[2:] if self.a.dim() == 1 else shape):
            raise ShapeError(f"scan: expected a of shape {shape} as b, or {shape[2:]}, got {tuple(self.a.shape)}")
        if tuple(self.first.shape) != (shape[0], shape[2]):
            raise ShapeError(
                f"scan: expected a first state of shape {(shape[0], shape[2])}, got {tuple(self.first.shape)}"
            )
        if not (b.is_floating_point() or b.is_complex()) or {self.a.dtype, self.first.dtype} != {b.dtype}:
            raise DtypeError(
                "scan: expected a, b and the first state in one real or complex type, got "
                f"{self.a.dtype}, {b.dtype} and {self.first.dtype}; use a.to(b.dtype)"
            )

    def __str__(self) -> str:
        batch, time, hidden = self.b.shape
        kind = "complex " if self.b.is_complex() else ""
        ragged_ = ", ragged" if self.lengths is not None else ""
        return f"scan of {kind}H={hidden} on B={batch}, T={time}{ragged_}"


def linear_scan(
    a: Tensor, b: Tensor, first: Tensor | None = None, lengths: Tensor | list[int] | None = None
) -> tuple[Tensor, Tensor]:
    """All states of ``h_t = a_t * h_{t-1} + b_t``, ``(B, T, H)`` and zero in the padding, and the last, ``(B, H)``.

    a        (B, T, H), or (H,) the same for all rows and steps; real or complex, as all that follows
    b        (B, T, H)
    first    (B, H) the state before the first step; zeros by default
    lengths  (B,) valid steps of each row; None means that all are T

    Raises ShapeError, DtypeError or LengthsError. Where abs(a) > 1 the states may grow without bound, which is
    legal here; `check_stable` says where that is.
    """
    checked = None if lengths is None else ragged.check(lengths, b.shape[0], b.shape[1])
    return scan(ScanCall(a, b, b.new_zeros(b.shape[0], b.shape[-1]) if first is None else first, checked))


def define(call: ScanCall) -> tuple[Tensor, Tensor]:
    """The definition: a loop over time."""
    a, b, h = ragged_blank(call.a, call.lengths), ragged.blank(call.b, call.lengths), call.first
    time, states = b.shape[1], []
    alive = None if call.lengths is None else ragged.mask(call.lengths, time, b.device)
    for t in range(time):
        after = (a if a.dim() == 1 else a[:, t]) * h + b[:, t]
        h = after if alive is None else torch.where(alive[:, t, None], after, h)
        states.append(h)
    return ragged.blank(torch.stack(states, 1) if states else b, call.lengths), h


def ragged_blank(a: Tensor, lengths: Tensor | None) -> Tensor:
    """Coefficients with zeros in the padding; constant ones have none."""
    return a if a.dim() == 1 else ragged.blank(a, lengths)


def double(call: ScanCall) -> tuple[Tensor, Tensor]:
    """All states by pairing steps, log2 T times: some ten passes over b in all, by plain operations of torch.

    There is no division and no difference of what may be infinite: products of a that vanish are as good as zero.
    """
    b = ragged.blank(call.b, call.lengths)
    if b.shape[1] == 0:
        return b, call.first
    h = _paired(ragged_blank(call.a, call.lengths), b, call.first)
    return ragged.blank(h, call.lengths), ragged.last(h, call.lengths, call.first)


def _paired(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    """Solve for every second state, whose steps are pairs of steps; one step more gives those between."""
    time = b.shape[1]
    if time == 1:
        return (a if a.dim() == 1 else a[:, 0]).mul(first).add(b[:, 0]).unsqueeze(1)
    half = time // 2
    early_a, late_a = (a, a) if a.dim() == 1 else (a[:, 0::2], a[:, 1::2])
    early_b, late_b = b[:, 0::2], b[:, 1::2]
    pair_a = a * a if a.dim() == 1 else late_a * early_a[:, :half]
    late = _paired(pair_a, late_a * early_b[:, :half] + late_b, first)
    before = torch.cat([first.unsqueeze(1), late[:, : time - half - 1]], 1)
    early = early_a * before + early_b
    pairs = torch.stack([early[:, :half], late], 2).flatten(1, 2)
    return pairs if time == 2 * half else torch.cat([pairs, early[:, half:]], 1)


def gradients(call: ScanCall, h: Tensor, dh: Tensor, dlast: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of a, b and the first state, as a scan from the end of each row to its beginning.

    g_t = dh_t + conj(a_{t+1}) g_{t+1}          db_t = g_t, da_t = g_t conj(h_{t-1})
    """
    b, first, lengths = call.b, call.first, call.lengths
    if b.shape[1] == 0:
        return torch.zeros_like(call.a), torch.zeros_like(b), dlast
    a = ragged.blank(call.a.expand_as(b), lengths).conj().resolve_conj()
    behind = torch.cat([torch.ones_like(a[:, :1]), ragged.reverse(a, lengths)[:, :-1]], 1)
    turned, _ = double(ScanCall(behind, ragged.reverse(ragged.blank(dh, lengths), lengths), dlast, lengths))
    g = ragged.reverse(turned, lengths)
    before = torch.cat([first.unsqueeze(1), h[:, :-1]], 1).conj()
    da, dfirst = g * before, a[:, 0] * g[:, 0]
    if lengths is not None:
        dfirst = torch.where((lengths > 0).to(g.device)[:, None], dfirst, dlast)
    return (da.sum((0, 1)) if call.a.dim() == 1 else da), g, dfirst


def check_stable(a: Tensor, limit: float = 1.0) -> None:
    """Raise UnstableError if any abs(a) is above ``limit`` or NaN, naming the row, the step and the channel.

    a  (B, T, H) or (H,), real or complex, such as ``layer.trace(x)["a"]``; above 1 a state can grow for ever
    """
    size = a.detach().abs()
    wrong = ~(size <= limit)
    if not wrong.any():
        return
    worst = int(torch.where(wrong, size.nan_to_num(nan=float("inf")), -1).argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), a.shape)]
    names = (
        ("row", "step", "channel")[-len(place) :] if len(place) < 4 else [f"axis {i}" for i in range(len(place))]
    )
    where = ", ".join(f"{name} {i}" for name, i in zip(names, place, strict=True))
    raise UnstableError(
        f"scan: expected |a| <= {limit:g}, got {float(size.flatten()[worst]):.6g} at {where} "
        f"({int(wrong.sum())} of {a.numel()} are too large); keep |a| below 1, as sigmoid or exp(-exp(nu)) do"
    )


scan: Op[ScanCall] = Op("scan", define)
