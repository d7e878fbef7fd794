"""What a scraper reads of a run beside its status: model calls, money, decisions that wait, when something happened."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.read import Reader

_CALLS = """
    WITH own AS (SELECT session_id FROM sessions WHERE run_id = $1)
    SELECT (SELECT count(*) FROM completions WHERE session_id IN (FROM own)) AS completions,
           (SELECT coalesce(sum(n_tokens), 0)::BIGINT FROM completions WHERE session_id IN (FROM own)) AS tokens,
           (SELECT count(*) FROM scores WHERE session_id IN (FROM own)) AS scores,
           (SELECT max("at") FROM events WHERE run_id = $1) AS last_event
"""
_PHASES = "SELECT phase, sum(value) AS s FROM metrics WHERE run_id = ? AND name = 'elapsed_s' GROUP BY 1 ORDER BY 1"


def scraped(reader: Reader, run_id: str) -> Mapping[str, Any]:
    """{completions, tokens, scores, last_event, phase_seconds, spent_usd, reserved_usd, cap_usd, waiting}."""
    from engine.budget.ledger import cap_of, spent
    from engine.core.errors import SpecError
    from engine.review.listing import reviews
    from engine.spec.stage import settings_of

    money, cap = spent(reader, run_id).all, None
    with contextlib.suppress(SpecError):  # settings that this version does not know are no reason to tell nothing
        cap = cap_of(reader, settings_of(reader.run(run_id)))
    return {
        **reader.query(_CALLS, [run_id])[0],
        "phase_seconds": {row["phase"]: row["s"] for row in reader.query(_PHASES, [run_id])},
        "spent_usd": money.settled / 1e6,
        "reserved_usd": money.reserved / 1e6,
        "cap_usd": None if cap is None else cap / 1e6,
        "waiting": sum(one["state"] == "waiting" for one in reviews(reader, run_id)),
    }
