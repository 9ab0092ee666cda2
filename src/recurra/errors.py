"""The exception tree: every error that recurra raises on purpose.

    RecurraError
    |- ShapeError        (ValueError)    a tensor has the wrong number of axes or the wrong size
    |- DtypeError        (TypeError)     a tensor has the wrong type of numbers
    |- LengthsError      (ValueError)    lengths that do not describe the batch
    |- BoundaryError     (ValueError)    boundaries of documents that are neither 0 nor 1
    |- StateError        (ValueError)    the state of another layer, batch or device
    |- NotCausalError    (RuntimeError)  one step asked of a layer that needs the future
    |- EquationError     (ValueError)    an equation that cannot become a kernel
    |- BuildError        (RuntimeError)  a kernel that cannot be compiled or loaded here
    |- ConfigError       (ValueError)    a recipe, key or option that cannot be understood
    |- DataError         (ValueError)    a file or data set that cannot be read or used
    |- RunError          (RuntimeError)  a run folder that cannot be written, read or resumed
    |- TrainingError     (RuntimeError)  training cannot go on: a loss that is not finite
    |- UnstableError     (ArithmeticError) a recurrence whose state grows without bound
    `- ContractError     (AssertionError) a layer breaks a law of the protocol

Each message says what was expected, what came, and what to do. The second base keeps ``except ValueError``
working for people who do not know this tree.
"""

__all__ = [
    "BoundaryError",
    "BuildError",
    "ConfigError",
    "ContractError",
    "DataError",
    "DataWarning",
    "DtypeError",
    "EquationError",
    "LengthsError",
    "NotCausalError",
    "PerformanceWarning",
    "RecurraError",
    "RunError",
    "ShapeError",
    "StateError",
    "TrainingError",
    "UnstableError",
]


class RecurraError(Exception):
    """Base of every error that recurra raises on purpose."""


class ShapeError(RecurraError, ValueError):
    """A tensor has the wrong number of axes or the wrong size."""


class DtypeError(RecurraError, TypeError):
    """A tensor holds the wrong type of numbers."""


class LengthsError(RecurraError, ValueError):
    """Lengths that do not describe the batch."""


class BoundaryError(RecurraError, ValueError):
    """Boundaries of documents or episodes that are neither 0 nor 1."""


class StateError(RecurraError, ValueError):
    """A state that belongs to another layer, batch or device."""


class NotCausalError(RecurraError, RuntimeError):
    """One step was asked of a layer that needs the future."""


class EquationError(RecurraError, ValueError):
    """An equation that cannot become a graph of elementwise operations."""


class BuildError(RecurraError, RuntimeError):
    """A kernel that cannot be compiled or loaded on this machine."""


class ConfigError(RecurraError, ValueError):
    """A recipe, key or option that cannot be understood."""


class DataError(RecurraError, ValueError):
    """A file or data set that cannot be read or used."""


class RunError(RecurraError, RuntimeError):
    """A run folder that cannot be written, read or resumed."""


class TrainingError(RecurraError, RuntimeError):
    """Training cannot go on, such as a loss that is not finite."""


class UnstableError(RecurraError, ArithmeticError):
    """A recurrence whose state grows without bound."""


class ContractError(RecurraError, AssertionError):
    """A layer breaks a law of the protocol."""


class PerformanceWarning(UserWarning):
    """The answer is right, but a slower path than necessary computed it."""


class DataWarning(UserWarning):
    """Data that was mended while it was read, by a rule that the warning tells."""
