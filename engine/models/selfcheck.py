"""What a model's self-check found when it was loaded: which path is used, and how far it is from the model's own pass.

It is kept in the user's cache under a name of all that it depends on, so that a model is checked once on a machine.
Imports no model library: the screen and reports say it from a run's manifest.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.models.files.embedded import cache_root

FAST, PLAIN, ALONE = "fast path", "plain path", "plain path, one text at a time"
FACT = "self_check"  # its name among a model's facts
COMPUTED = ("told", "doubtful")  # what is there beside its fields


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """Label log-probabilities and greedy texts of a path against the model's own forward pass, one text at a time.

    `largest_nats` is the largest difference of a label's log-probability in `scores` of them, all within
    `tolerance_nats`. `hidden` is the largest difference of a hidden state as a share of the largest value, None where
    no hidden states are read. `rounding_nats` is by how much weights of 16 bits move the same scores from what the same
    weights give in float32; 0 where they are float32. `instead` says why the fast path is not used, and `against` what
    it was compared with.
    """

    architecture: str
    path: str
    largest_nats: float
    tolerance_nats: float
    scores: int
    greedy_equal: bool
    hidden: float | None
    rounding_nats: float
    seconds: float
    instead: str = ""
    against: str = "its own forward pass"

    @property
    def doubtful(self) -> bool:
        """Whether a person should read it: another path than the fast one, or greedy texts that are not repeated."""
        return bool(self.instead) or not self.greedy_equal

    def told(self) -> str:
        """One line for a screen, a status and a report."""
        read = "no hidden states" if self.hidden is None else f"hidden states within {self.hidden:.1g}"
        texts = "equal" if self.greedy_equal else "not equal"
        found = (
            f"{self.path} of {self.architecture}: labels within {self.largest_nats:.1g} nats of {self.against} "
            f"(n = {self.scores}, at most {self.tolerance_nats:.2g}), greedy texts {texts}, {read}"
        )
        if self.rounding_nats:
            found += f"; 16 bits move labels by up to {self.rounding_nats:.2g} nats"
        return f"{found}; not the fast path: {self.instead}" if self.instead else found

    def facts(self) -> dict[str, Any]:
        """What a loaded model's facts and a run's manifest have of it."""
        return {FACT: asdict(self) | {"told": self.told(), "doubtful": self.doubtful}}


def of_facts(facts: Mapping[str, Any] | None) -> SelfCheck | None:
    """The self-check among the facts of a loaded model, or in a manifest's `model`; None where there was none."""
    found = (facts or {}).get(FACT)
    return SelfCheck(**{name: value for name, value in found.items() if name not in COMPUTED}) if found else None


def largest_of(differences: list[float]) -> float:
    """The largest one, and NaN where any is that."""
    return math.nan if any(map(math.isnan, differences)) else max(differences)


def kept(key: str) -> SelfCheck | None:
    """What was found before under this key; None where nothing was, or it cannot be read."""
    try:
        return SelfCheck(**json.loads(_place(key).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def keep(key: str, found: SelfCheck) -> None:
    """Keep what was found. A cache that cannot be written costs the next start its seconds, and no more."""
    place = _place(key)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = tempfile.mkstemp(prefix=".", dir=place.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(asdict(found), indent=1))
        Path(aside).replace(place)
    except OSError:
        return


def _place(key: str) -> Path:
    return cache_root() / "self-checks" / f"{key}.json"
