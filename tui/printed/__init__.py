"""What is printed rather than drawn: reports, progress without a screen, and the last words. No Textual here.

A module is imported when it is first named: they bring rich, which `--help` and `--json` do without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.printed import (
        comparison,
        evaluation,
        experiment,
        fit,
        plan,
        principles,
        prometheus,
        review,
        salvage,
        suites,
        tables,
        training,
    )

__all__ = [
    "comparison",
    "evaluation",
    "experiment",
    "fit",
    "plan",
    "principles",
    "prometheus",
    "review",
    "salvage",
    "suites",
    "tables",
    "training",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    return import_module(f"{__name__}.{name}")
