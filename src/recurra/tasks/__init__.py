"""Floor 6: tasks, one a file. `TASKS` is the table of all by the name that recipes and the command line use."""

from recurra.run.estimator import Estimator
from recurra.tasks.actions import ActionRecognizer
from recurra.tasks.classify import TextClassifier
from recurra.tasks.classify_series import SequenceClassifier
from recurra.tasks.forecast import Forecast
from recurra.tasks.forecaster import Forecaster
from recurra.tasks.frames import FramePredictor
from recurra.tasks.keywords import KeywordSpotter
from recurra.tasks.language_model import LanguageModel
from recurra.tasks.music import MusicModel
from recurra.tasks.speech import SpeechRecognizer
from recurra.tasks.tag import Tagger
from recurra.tasks.trajectory import TrajectoryPredictor
from recurra.tasks.translate import Translator

__all__ = [
    "TASKS",
    "ActionRecognizer",
    "Forecast",
    "Forecaster",
    "FramePredictor",
    "KeywordSpotter",
    "LanguageModel",
    "MusicModel",
    "SequenceClassifier",
    "SpeechRecognizer",
    "Tagger",
    "TextClassifier",
    "TrajectoryPredictor",
    "Translator",
]

TASKS: dict[str, type[Estimator]] = {
    task.name: task
    for task in (
        LanguageModel,
        MusicModel,
        TextClassifier,
        SequenceClassifier,
        SpeechRecognizer,
        Tagger,
        Translator,
        KeywordSpotter,
        ActionRecognizer,
        TrajectoryPredictor,
        FramePredictor,
        Forecast,
    )
}
