"""The errors that the engine raises on purpose, each with what is safe and what to do next."""

from __future__ import annotations

from collections.abc import Mapping

from store.errors import CaiError


class UsageError(CaiError):
    """What was asked for cannot be understood."""

    exit_code = 2


class SpecError(CaiError):
    """A spec or a setting is wrong."""


class ModelError(CaiError):
    """A model could not be found, loaded or trusted."""


class ModelUnknown(ModelError):
    """No model of that name."""


class PromptTooLong(ModelError):
    """A prompt and its answer do not fit into the model's context."""


class NothingParsed(CaiError):
    """The model wrote no instruction that could be read."""


class Interrupted(CaiError):
    """The run was stopped by a person or a signal, between two commits."""

    exit_code = 130


class TrainingError(CaiError):
    """A model can't be trained, or training had to end."""


LOCKED = "training is locked"  # how the title of a lock's error begins


class Locked(TrainingError):
    """What has to hold before a model is trained does not; the hint says how to open the lock."""

    exit_code = 4


class EvaluationError(CaiError):
    """Models can't be evaluated or compared as asked."""


class BudgetReached(CaiError):
    """What was spent and reserved comes to the cap; only a person raises it."""

    exit_code = 5


class ReviewError(CaiError):
    """A review can't be asked for, or its record can't be trusted."""

    exit_code = 3


class NotApproved(CaiError):
    """A decision that the spec has reviewed was not approved of; the run waits."""

    exit_code = 3


class AnsweredElsewhere(CaiError):
    """The run waits for what another machine computes."""

    exit_code = 3


class SettingsModified(CaiError):
    """A person changed settings in answer to a review: the decision is asked about anew."""

    def __init__(self, changes: Mapping[str, str], title: str) -> None:
        super().__init__(title, "The run goes on with them.")
        self.changes = dict(changes)


def first_line(error: BaseException) -> str:
    """The first line that an error says, or its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
