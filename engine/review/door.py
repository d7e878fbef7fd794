"""The one function that gates and scripts call, and the desk that it finds."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.core.errors import ReviewError
from engine.review.desk import Desk
from engine.review.form import Review
from engine.review.prompt import Context
from engine.review.reviewers import Chain, Reviewer
from store.db import Store

_DESK: contextvars.ContextVar[Desk | None] = contextvars.ContextVar("desk", default=None)


@contextlib.contextmanager
def open_desk(store: Store | Path | str, run_id: str, reviewer: Reviewer | Chain, **options: Any) -> Iterator[Desk]:
    """Open a desk for a `with` block, in which `request_codex_review` finds it; `options` are those of Desk.

    A store that is given as a path is opened and closed. Raises what Store.open and Desk raise.
    """
    with contextlib.ExitStack() as stack:
        opened = store if isinstance(store, Store) else stack.enter_context(Store.open(Path(store)))
        desk = Desk(opened, run_id, reviewer, **options)
        token = _DESK.set(desk)
        try:
            yield desk
        finally:
            _DESK.reset(token)


def current_desk() -> Desk:
    """The desk that is open. Raises ReviewError where there is none."""
    found = _DESK.get()
    if found is None:
        raise ReviewError("no desk is open", "Use `with open_desk(store, run_id, reviewer):`. Nothing was asked.")
    return found


def request_codex_review(
    topic: str, question: str, context: Context | Mapping[str, Any] | str, *, desk: Desk | None = None
) -> Review:
    """Have one question of methodology reviewed; `outcome.proceed` of what comes back says whether the run goes on.

    `desk` is the one that `open_desk` opened around the call where it is not given. Raises ReviewError where there is
    none, and what Desk.review raises.
    """
    return (desk or current_desk()).review(topic, question, context)
