"""Checks that the configurations of all tasks share; each raises a ConfigError that names the key."""

from collections.abc import Sequence
from typing import Any

from recurra.config import suggest
from recurra.data.text import Tokens
from recurra.errors import ConfigError, RunError
from recurra.layers import LAYERS, Gated

__all__ = ["check_layer", "check_least", "check_shares", "check_split", "restore_tokens"]


def check_least(table: str, config: Any, least: float, *names: str) -> None:
    """Each of the named keys is at least so large."""
    for name in names:
        if not getattr(config, name) >= least:
            raise ConfigError(f"{table}.{name}: expected at least {least}, got {getattr(config, name)}")


def check_shares(table: str, config: Any, *names: str) -> None:
    """Each of the named keys is a share that leaves something: from 0 to below 1."""
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"{table}.{name}: expected a share from 0 to below 1, got {getattr(config, name)}")


def check_layer(layer: str, recurrent_dropout: float = 0.0) -> None:
    """``model.layer`` is one that there is, and has a product that ``model.recurrent_dropout`` can drop from."""
    if layer not in LAYERS:
        raise ConfigError(f"model.layer: unknown layer {layer!r}{suggest(layer, list(LAYERS))}")
    if recurrent_dropout and not issubclass(LAYERS[layer], Gated):
        raise ConfigError(f"model.recurrent_dropout: {layer} has no product to drop from; expected 0")


def check_split(split: Sequence[float]) -> None:
    """``data.split`` has a share for each of three parts."""
    if len(split) != 3 or min(split) <= 0 or abs(sum(split) - 1) > 1e-6:
        raise ConfigError(
            f"data.split: expected three shares that add up to 1 such as [0.8, 0.1, 0.1], got {list(split)}"
        )


def restore_tokens(values: Any, kinds: dict[str, type[Tokens]]) -> Tokens:
    """The tokens that a run folder describes. Raises RunError if it describes none."""
    kind = values.get("kind") if isinstance(values, dict) else None
    if kind not in kinds:
        raise RunError(f"the vocabulary is of unknown kind {kind!r}; expected one of {', '.join(kinds)}")
    try:
        return kinds[kind].from_dict(values)
    except ConfigError:
        raise
    except Exception as error:  # the tokenizers library raises plain Exceptions
        raise RunError(f"the vocabulary of kind {kind} is broken: {type(error).__name__} {error}") from error
