"""One file for each question; `SECTIONS` has them in the order in which they run and are printed."""

from collections.abc import Callable

from benchmarks.results import Section
from benchmarks.sections import (
    bidirectional,
    busy,
    compiling,
    convolutional,
    custom,
    features,
    forecasting,
    inference,
    listening,
    memories,
    memory,
    ragged,
    scans,
    streaming,
    tagging,
    training,
    transducer,
    translation,
    watching,
    zoo,
)
from benchmarks.timing import Effort

__all__ = ["SECTIONS", "Say"]

Say = Callable[[str], None]

SECTIONS: dict[str, Callable[[Effort, Say], Section]] = {
    "training": training.run,
    "inference": inference.run,
    "ragged": ragged.run,
    "custom": custom.run,
    "bidirectional": bidirectional.run,
    "scans": scans.run,
    "streaming": streaming.run,
    "busy": busy.run,
    "zoo": zoo.run,
    "tagging": tagging.run,
    "memories": memories.run,
    "convolutional": convolutional.run,
    "memory": memory.run,
    "translation": translation.run,
    "features": features.run,
    "transducer": transducer.run,
    "listening": listening.run,
    "watching": watching.run,
    "forecasting": forecasting.run,
    "compiling": compiling.run,
}
