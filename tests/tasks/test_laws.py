"""Every task through the laws of tasks; and each law catches a task that breaks it."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.tasks.trials import TRIALS, language_model

from recurra.data.text import read_text
from recurra.errors import ContractError, DataError
from recurra.run.fit import Fit
from recurra.tasks import TASKS, LanguageModel
from recurra.testing import TASK_LAWS, BadInput, Trial, check_task, examine_task


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_the_laws(name: str) -> None:
    report = check_task(TRIALS[name])
    assert not report.broken
    assert set(report.kept) == set(TASK_LAWS), str(report)


class Frozen(LanguageModel):
    def pace(self, part: str, share: float) -> float:
        return 0.0


class AnswersAnyway(LanguageModel):
    def predict(self, raw: str) -> dict[str, Any]:
        return {} if self.trained is None else super().predict(raw)


class Tensors(LanguageModel):
    def predict_many(self, raws):
        return [torch.tensor(len(raw)) for raw in raws]


class Counts(LanguageModel):
    def predict_many(self, raws):
        return [answer | {"asked": len(raws)} for answer in super().predict_many(raws)]


class Forgets(LanguageModel):
    """Something is learned beside the weights, and not kept."""

    bonus = 0.0

    def finish(self, data) -> None:
        self.bonus = 1.0

    def predict(self, raw: str) -> dict[str, Any]:
        return super().predict(raw) | {"bonus": self.bonus}


class ReadsExamples(LanguageModel):
    def predict(self, raw: str) -> dict[str, Any]:
        return super().predict(raw) | {"size": len(read_text(self.config.data.text))}


class OtherRecipe(LanguageModel):
    def _describe(self, folder, fit) -> None:
        super()._describe(folder, fit)
        text = folder.recipe.read_text("utf-8").replace("hidden = 32", "hidden = 31")
        folder.recipe.write_text(text, "utf-8")


class CountsSteps(LanguageModel):
    """The loss depends on something that a checkpoint does not hold."""

    steps = 0

    def loss(self, network, batch, carry):
        self.steps += 1
        total, count, carry = super().loss(network, batch, carry)
        return total * (1 + 0.1 * math.sin(self.steps)), count, carry


class NoVocabulary(LanguageModel):
    @classmethod
    def load(cls, path):
        if not (Path(path) / "vocabulary.json").exists():
            return cls()
        return super().load(path)


def mutant(kind: type[LanguageModel], **changes: Any) -> Trial:
    def make(folder: Path) -> LanguageModel:
        return kind(language_model(folder).config)

    quick = Fit(steps=4, evaluate_every=2, warmup=1)
    return replace(TRIALS["language_model"], **({"make": make, "fit": quick, "learned": lambda m: True} | changes))


def answered(task: LanguageModel) -> Any:
    return task.predict("Ann")


def other(task: LanguageModel) -> Any:
    raise ValueError("oh")


CAUGHT: dict[str, list[Trial]] = {
    "untrained": [mutant(AnswersAnyway)],
    "learning": [mutant(Frozen, learned=TRIALS["language_model"].learned)],
    "answers": [mutant(Tensors)],
    "neighbours": [mutant(Counts)],
    "saved": [mutant(Forgets)],
    "alone": [mutant(ReadsExamples)],
    "recipe": [mutant(OtherRecipe)],
    "streamed": [
        mutant(LanguageModel, streamed=None),
        mutant(LanguageModel, streamed=lambda task, raw: task.predict(raw) | {"perplexity": 1.0}),
    ],
    "resumed": [mutant(CountsSteps)],
    "refusals": [
        mutant(LanguageModel, bad=[BadInput("a name", does, DataError, "bad")])
        for does in (answered, other, lambda task: task.predict(""))
    ],
    "damage": [mutant(NoVocabulary)],
}


@pytest.mark.parametrize("law", TASK_LAWS)
def test_each_law_catches_a_task_that_breaks_it(law: str) -> None:
    for trial in CAUGHT[law]:
        assert examine_task(trial, law).broken == (law,), law
    assert not examine_task(mutant(LanguageModel), law).broken


def test_the_first_broken_law_is_named() -> None:
    with pytest.raises(ContractError, match="AnswersAnyway breaks the law 'untrained'"):
        check_task(mutant(AnswersAnyway), "untrained")
