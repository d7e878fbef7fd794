"""The rooms of the control center by name, key and title."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A room as the bar at the bottom names it."""

    name: str
    key: str
    title: str
    short: str
    about: str

    @property
    def where(self) -> tuple[str, str]:
        """Module and class, imported when the room is furnished."""
        return f"tui.rooms.{self.name}", f"{self.name.capitalize()}Room"


PLACES = (
    Place("run", "1", "Run", "Run", "What needs you, the weakest figure, samples, phases, acceptance, cost, events"),
    Place("samples", "2", "Samples", "Samp", "Every sample and what made it"),
    Place("thresholds", "3", "Thresholds", "Thr", "What if a threshold were another one"),
    Place("questions", "4", "Questions", "Ask", "Gates, reviews and decisions with their evidence"),
    Place("training", "5", "Training", "Train", "Loss, learning rate, gradient norm, reward margins"),
    Place("evaluation", "6", "Evaluation", "Eval", "Paired results, intervals, tests, what changed sides"),
    Place("runs", "7", "Runs", "Runs", "All runs: compare, fork, resume"),
    Place("sql", "8", "SQL", "SQL", "A read-only console on the store"),
    Place("log", "9", "Log", "Log", "What libraries printed"),
    Place("preferences", "0", "Preferences", "Pref", "Principles, revisions, preference pairs"),
)
