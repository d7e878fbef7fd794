"""What the Evaluation room reads: results by condition and type, and the items on which two conditions differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store import Reader

SHOWN_AT_MOST = 500


@dataclass(frozen=True, slots=True)
class Discordant:
    """The items that one condition has right and the other wrong; `total` counts all, `items` are the first ones."""

    total: int
    items: Sequence[Mapping[str, Any]]


def results(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    """All comparisons of a run; within each the whole set first, then the types by name."""
    return reader.query(
        "SELECT * FROM evaluation_results WHERE run_id = ? ORDER BY before, after, item_type != 'all', item_type",
        [run_id],
    )


def discordant(reader: Reader, result: Mapping[str, Any], gained: bool) -> Discordant:
    """The items of one result that were wrong before and are right after, or (not `gained`) the reverse."""
    of_type = "" if result["item_type"] == "all" else "AND i.item_type = ?"
    params: list[object] = [result["run_id"], result["before"], result["after"], not gained, gained]
    params += [result["item_type"]] if of_type else []
    source = (
        "FROM evaluation_answers b JOIN evaluation_answers a ON a.run_id = b.run_id AND a.item_id = b.item_id "
        "JOIN evaluation_items i ON i.items_sha256 = b.items_sha256 AND i.item_id = b.item_id "
        f"WHERE b.run_id = ? AND b.condition = ? AND a.condition = ? AND b.correct = ? AND a.correct = ? {of_type}"
    )
    total = reader.query(f"SELECT count(*) AS n {source}", params)[0]["n"]
    items = reader.query(
        "SELECT i.item_id, i.item_type, i.prompt, i.reference, b.answer AS before_answer, b.why AS before_why, "
        f"a.answer AS after_answer, a.why AS after_why {source} ORDER BY i.item_type, i.item_id LIMIT {SHOWN_AT_MOST}",
        params,
    )
    return Discordant(total, items)
