"""The rooms of the control center by name, key and title."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A room as the bar at the bottom names it; `where` is module and class, imported when the room is furnished."""

    name: str
    key: str
    title: str
    short: str
    about: str
    where: tuple[str, str]


PLACES = (
    Place("run", "1", "Run", "Run", "Phases, acceptance, margins, guard, budget, machine, events",
          ("tui.rooms.run", "RunRoom")),
    Place("samples", "2", "Samples", "Samp", "Every sample and what made it",
          ("tui.rooms.samples", "SamplesRoom")),
    Place("thresholds", "3", "Thresholds", "Thr", "What if a threshold were another one",
          ("tui.rooms.thresholds", "ThresholdsRoom")),
    Place("questions", "4", "Questions", "Ask", "Gates, reviews and decisions with their evidence",
          ("tui.rooms.questions", "QuestionsRoom")),
    Place("training", "5", "Training", "Train", "Loss, learning rate, gradient norm, reward margins",
          ("tui.rooms.training", "TrainingRoom")),
    Place("evaluation", "6", "Evaluation", "Eval", "Paired results, intervals, tests, what changed sides",
          ("tui.rooms.evaluation", "EvaluationRoom")),
    Place("runs", "7", "Runs", "Runs", "All runs: compare, fork, resume",
          ("tui.rooms.runs", "RunsRoom")),
    Place("sql", "8", "SQL", "SQL", "A read-only console on the store",
          ("tui.rooms.sql", "SqlRoom")),
    Place("log", "9", "Log", "Log", "What libraries printed",
          ("tui.rooms.log", "LogRoom")),
    Place("preferences", "0", "Preferences", "Pref", "Principles, revisions, preference pairs",
          ("tui.rooms.preferences", "PreferencesRoom")),
)  # fmt: skip
