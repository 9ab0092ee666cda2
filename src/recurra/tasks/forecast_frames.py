"""Forecasts as data frames of the library that the data came from, with its own types of names and stamps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recurra.data.sheets import frame_like
from recurra.errors import ConfigError
from recurra.tasks.forecast_coming import Coming, columns_of

__all__ = ["Dress", "answer_frame", "described", "dress_of", "dressed"]


class Dress(NamedTuple):
    """How frames of answers look.

    like      a frame of the library that they shall be of
    id, time  the names of these columns
    types     their types in that library, as narwhals names them; none: what comes of itself
    """

    like: Any
    id: str
    time: str
    types: Mapping[str, Any]

    def frame(self, columns: Mapping[str, Any], times: Sequence[str], zone: str = "") -> Any:
        """A frame of ``columns``; those in ``times`` hold int64 stamps."""
        narwhals = _narwhals()
        kind = self.types.get(self.time)
        whole = kind is not None and kind.is_integer()
        made = frame_like(columns, self.like, () if whole else times, zone)
        frame = narwhals.from_native(made, eager_only=True)
        casts = {name: self.types[self.time] for name in times if self.time in self.types}
        casts |= {self.id: self.types[self.id]} if self.id in self.types and self.id in columns else {}
        return frame.with_columns(*(narwhals.col(name).cast(kind) for name, kind in casts.items())).to_native()


def dress_of(frame: Any, id: str, time: str) -> Dress:
    """The dress of a frame of data."""
    narwhals = _narwhals()
    table = narwhals.from_native(frame, eager_only=True)
    types = {name: table[name].dtype for name in (id, time) if name in table.columns}
    return Dress(table.head(1).to_native(), id, time, types)


def described(dress: Dress) -> dict[str, Any]:
    """A dress as plain values, for JSON."""
    types = {}
    for name, kind in dress.types.items():
        options = {part: getattr(kind, part) for part in ("time_unit", "time_zone") if part in dir(kind)}
        types[name] = [type(kind).__name__, options]
    library = _narwhals().from_native(dress.like, eager_only=True).implementation.value
    return {"library": str(library), "id": dress.id, "time": dress.time, "types": types}


def dressed(values: Mapping[str, Any]) -> Dress:
    """The inverse of `described`."""
    narwhals = _narwhals()
    like = narwhals.from_dict({values["id"]: [""]}, backend=values["library"]).to_native()
    types = {name: getattr(narwhals, kind)(**options) for name, (kind, options) in values["types"].items()}
    return Dress(like, values["id"], values["time"], types)


def answer_frame(coming: Coming, levels: Sequence[float], dress: Dress, zone: str) -> Any:
    """A row for each series and step: name, stamp, mean, and the ends of each interval."""
    horizon = coming.stamps.shape[1]
    names = {dress.id: [name for name in coming.names for _ in range(horizon)]}
    stamps: dict[str, NDArray[np.int64]] = {dress.time: coming.stamps.reshape(-1)}
    return dress.frame({**names, **stamps, **columns_of(coming, levels)}, [dress.time], zone)


def _narwhals() -> Any:
    try:
        import narwhals
    except ImportError as error:
        raise ConfigError("data frames need narwhals; install it with: pip install 'recurra[forecast]'") from error
    return narwhals
