"""Who is asked where a review is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.review.model import ModelSettings


@dataclass(frozen=True)
class ReviewOptions:
    """Who is asked: a person, a model, a model and then a person (chain), or fixed answers (policy).

    `present` says whether a person is there to answer; `confirm` has a person asked in any case. `prices` are dollars
    of a million input and output tokens, where the shipped table does not know the model.
    """

    reviewer: Literal["person", "model", "chain", "policy"] = "person"
    settings: ModelSettings = field(default_factory=ModelSettings)
    key_file: Path | None = None
    confirm: bool = False
    policy: Mapping[str, bool] = field(default_factory=dict)
    present: bool = False
    prices: tuple[float, float] | None = None
