"""Trackers that a training also reports to: whether each can be, before anything is loaded for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from engine.core.errors import TrainingError

# Packages of which one serves, by the name that transformers knows a tracker by.
PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",)}


def require_trackers(names: Iterable[str]) -> None:
    """Raise TrainingError for a tracker that is none of these, or whose package is not installed."""
    for name in names:
        if name not in PACKAGES:
            raise TrainingError(
                f"training cannot report to {name!r}",
                f"It can to {', '.join(PACKAGES)}. Nothing was started.",
            )
        if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
            raise TrainingError(
                f"training cannot report to {name}: its package is not installed",
                f"Install it (pip install {PACKAGES[name][0]}), or leave --report-to {name} out. Its figures are kept "
                "in the store in any case. Nothing was started.",
            )
