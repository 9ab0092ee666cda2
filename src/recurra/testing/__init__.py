"""The contract of every layer, runnable by anyone for their own.

    from recurra.testing import check_layer

    print(check_layer(lambda: MyLayer(3, 5)))

Each law is a named check in float64 with odd sizes (batches and times of 0, 1, 19 and 33, rows of length 0 and 1)
and NaN in the padding. Most run in evaluation and in training mode. Two ways to compute ``(y, state)`` must
give the same values and the same gradients of x, of the state before and of every parameter.

    layout     sizes, strides
    state      state tree, restored state, renewed state, refused step
    purity     nothing in place, no hidden memory, initial state
    rows       rows apart
    padding    unread padding, blank end, padded row
    gradients  finite differences, last state gradient
    time       no future, steps, chunks, training, any length
    backends   backends

Tasks have laws of their own: `check_task` trains one on twenty examples and asks what it promises.
"""

from recurra.testing.check import LAWS, check_layer, examine_layer
from recurra.testing.law import Law
from recurra.testing.pupil import BadInput, Pupil, Trial
from recurra.testing.report import Outcome, Report
from recurra.testing.tasks import TASK_LAWS, check_task, examine_task

__all__ = [
    "LAWS",
    "TASK_LAWS",
    "BadInput",
    "Law",
    "Outcome",
    "Pupil",
    "Report",
    "Trial",
    "check_layer",
    "check_task",
    "examine_layer",
    "examine_task",
]
