"""Probes of memory: small tasks that each ask for one kind of memory and nothing else. `PROBES` names them.

adding              two numbers kept over a long way, then added        Le et al. 2015
copy                a list kept over a long silence                     Arjovsky et al. 2016
selective_copy      a list picked from between blanks                   Gu and Dao 2023
recall              many pairs, looked up by their keys                 Arora et al. 2023
parity              one bit that every one of the inputs turns          Grazzi et al. 2024
modular_arithmetic  the value of an expression that goes on and on      Delétang et al. 2022
digits              a picture read pixel by pixel                       Le et al. 2015
"""

from recurra.diagnose.probes.adding import Adding
from recurra.diagnose.probes.base import Batch, Probe
from recurra.diagnose.probes.copying import Copy
from recurra.diagnose.probes.digits import Digits
from recurra.diagnose.probes.modular_arithmetic import ModularArithmetic
from recurra.diagnose.probes.parity import Parity
from recurra.diagnose.probes.recall import Recall
from recurra.diagnose.probes.selective_copy import SelectiveCopy

__all__ = [
    "PROBES",
    "Adding",
    "Batch",
    "Copy",
    "Digits",
    "ModularArithmetic",
    "Parity",
    "Probe",
    "Recall",
    "SelectiveCopy",
]

PROBES: dict[str, type[Probe]] = {
    "adding": Adding,
    "copy": Copy,
    "selective_copy": SelectiveCopy,
    "recall": Recall,
    "parity": Parity,
    "modular_arithmetic": ModularArithmetic,
    "digits": Digits,
}
