"""Who answers reviews, as the configuration says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.review.model import ModelSettings
from engine.review.options import ReviewOptions
from tui.config.settings import Config


def reviewer_options(config: Config, *, present: bool = False) -> ReviewOptions:
    """The reviewer of the configuration; `present` says whether a person is there to answer.

    The key is not read here. A policy has no answers of its own, so it answers No. Raises ReviewError for a server's
    address that is none.
    """
    sent: dict[str, Any] = {
        "model": config.reviewer_model,
        "effort": None if config.reviewer_effort == "none" else config.reviewer_effort,
        "api": config.reviewer_api,
        "timeout_s": config.reviewer_timeout_s,
    }
    if config.reviewer_url:
        sent["base_url"] = config.reviewer_url
    reviewer: Any = config.reviewer
    return ReviewOptions(
        reviewer=reviewer,
        settings=ModelSettings(**sent),
        key_file=Path(config.reviewer_key_file).expanduser() if config.reviewer_key_file else None,
        confirm=config.reviewer_confirms,
        present=present,
    )
