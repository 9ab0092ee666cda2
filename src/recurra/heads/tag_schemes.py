"""Which tag may follow which: the schemes that mark where an entity begins, goes on and ends.

scheme  one step  two steps  three steps   who
BIO     B         B I        B I I         Ramshaw and Marcus 1995, as CoNLL 2002 and 2003 write it (IOB2)
BIOES   S         B E        B I E         Uchimoto et al. 2000
IO      I         I I        I I I         entities of one type that touch become one
free    any names, any order: no entities, such as parts of speech
"""

from typing import NamedTuple

import torch
from torch import Tensor

from recurra.errors import ConfigError, DataError

__all__ = ["SCHEMES", "Allowed", "allowed_for"]

SCHEMES = {"BIO": "BI", "BIOES": "BIES", "IO": "I", "free": ""}  # the letters that take a type


class Allowed(NamedTuple):
    """What may be: booleans. `transitions` goes from the row's tag to the column's."""

    begins: Tensor  # (K,)
    transitions: Tensor  # (K, K)
    ends: Tensor  # (K,)


def allowed_for(names: list[str], scheme: str) -> Allowed:
    """What a scheme allows between tags with these names: ``O``, and ``B-PER``, ``I-PER``, ... for each type.

    scheme  "BIO", "BIOES", "IO" or "free"

    Raises DataError for names that do not fit the scheme, and ConfigError for a scheme that is not known.
    """
    if scheme not in SCHEMES:
        raise ConfigError(f"scheme: expected one of {', '.join(SCHEMES)}, got {scheme!r}")
    if len(set(names)) < len(names):
        raise DataError(f"tags: expected each name once, got {names}")
    letters = SCHEMES[scheme]
    if not letters:
        yes = torch.ones(len(names), dtype=torch.bool)
        return Allowed(yes, yes.expand(len(names), -1).clone(), yes.clone())
    parts = [_split(name, scheme) for name in names]
    _check_complete(parts, scheme)
    transitions = [[_follows(after, before, scheme) for after in parts] for before in parts]
    begins = [_follows(part, ("O", ""), scheme) for part in parts]
    ends = [_follows(("O", ""), part, scheme) for part in parts]
    return Allowed(torch.tensor(begins), torch.tensor(transitions).view(len(names), -1), torch.tensor(ends))


def _split(name: str, scheme: str) -> tuple[str, str]:
    """Letter and type: ``("B", "PER")``, ``("O", "")``."""
    letter, dash, kind = name.partition("-")
    if name == "O" or (letter in SCHEMES[scheme] and letter and dash and kind):
        return letter, kind
    letters = ", ".join(f"{letter}-TYPE" for letter in SCHEMES[scheme])
    raise DataError(f"tags: expected O or {letters} in the scheme {scheme}, got {name!r}")


def _check_complete(parts: list[tuple[str, str]], scheme: str) -> None:
    """A tag that can never begin, or never come to an end, is a sign of the wrong scheme."""
    needs = {"BIO": {"I": "B"}, "BIOES": {"B": "E", "I": "BE", "E": "B"}}.get(scheme, {})
    for letter, kind in parts:
        for other in needs.get(letter, ""):
            if (other, kind) not in parts:
                raise DataError(
                    f"tags: {letter}-{kind} needs {other}-{kind} in the scheme {scheme}, and there is none; "
                    "is it another scheme?"
                )


def _follows(after: tuple[str, str], before: tuple[str, str], scheme: str) -> bool:
    """Whether a tag may come after another one. Rows begin and end as if O stood outside."""
    if scheme == "IO":
        return True
    goes_on = after[0] in "IE"
    if goes_on:
        return before[0] in "BI" and before[1] == after[1]
    return scheme == "BIO" or before[0] not in "BI"
