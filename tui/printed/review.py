"""What the command line shows of reviews. What reviewers and persons wrote is made visible and never read as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tui.printed.tables import add, fact, plain_table
from tui.words.text import make_visible, one_line

Row = Mapping[str, Any]

STATES = {
    "proceed": ("✓", "approved", "green"),
    "modified": ("±", "changed", "yellow"),
    "rejected": ("✗", "rejected", "bold red"),
    "waiting": ("?", "waiting", "bold yellow"),
    "superseded": ("·", "superseded", "dim"),
}
FIELDS = ("recommendation", "reasoning", "risks", "approval")


def reviews_table(rows: Sequence[Row]) -> Table:
    """Questions in the order asked, as `engine.review.reviews` gives them."""
    table = plain_table("", "review=", "asked, UTC", "topic", "state", "reviewer says", "decided by")
    for row in rows:
        shape, word, style = STATES[row["state"]]
        said = f"{row['review']['approval']} ({row['reviewer']})" if row["review"] else "–"
        asked, topic = f"{row['asked_at']:%Y-%m-%d %H:%M}", one_line(str(row["topic"]), 40)
        by = "–" if row["by"] == "nobody" else row["by"]
        add(table, Text(shape, style), str(row["review_id"]), asked, topic, Text(word, style), one_line(said, 40), by)
    return table


def review_report(run_id: str, row: Row) -> Group:
    """One question with all that is known about it."""
    shape, word, style = STATES[row["state"]]
    parts: list[RenderableType] = [
        fact("review", Text(str(row["review_id"]), style="bold"), "  ", Text(f"{shape} {word}", style=style)),
        fact("run", run_id),
        fact("topic", one_line(str(row["topic"]), 120)),
        fact("question", make_visible(str(row["question"]), limit=2000)),
        fact("asked", f"{row['asked_at']:%Y-%m-%d %H:%M:%S} UTC"),
        fact("evidence", f"sha256 {row['evidence_sha256']}"),
    ]
    if row["review"]:
        parts += [Text(), fact("reviewer", one_line(str(row["reviewer"]), 120))]
        for name in FIELDS:
            parts += [Text(name, style="dim"), Text(make_visible(str(row["review"][name]), limit=6000))]
    parts += [Text(), fact("decided by" if row["by"] != "nobody" else "open", _decided(row))]
    parts += [
        fact("change", f"{one_line(str(name), 80)}={one_line(str(value), 80)}")
        for name, value in row["changes"].items()
    ]
    parts += [fact("file", str(path)) for path in row["files"]]
    if row["state"] == "waiting":
        goes_on = "override --reason TEXT" if (row["review"] or {}).get("approval") == "No" else "approve"
        parts += [Text(), Text(f"answer it with: cai review answer {run_id} {row['review_id']} {goes_on}")]
    return Group(*parts)


def _decided(row: Row) -> str:
    reason = make_visible(str(row["reason"]), limit=2000)
    return reason if row["by"] == "nobody" else f"{row['by']}: {reason}"


def answered_line(run_id: str, review_id: str, state: str, *, runs_own: bool) -> str:
    """What a person's answer does; `runs_own` where the run asked and waits for it."""
    override = f"cai review answer {run_id} {review_id} override --reason TEXT"
    then = {
        "proceed": f"go on with: cai resume {run_id}" if runs_own else "recorded",
        "modified": f"the run takes the settings up with: cai resume {run_id}",
        "rejected": f"what was rejected can still be overridden: {override}",
    }[state]
    return f"review {review_id}: {STATES[state][1]}; {then}\n"


def asked_lines(found: Row) -> str:
    """How a question stands that was just asked."""
    told = [f"note: {one_line(note, 400)}" for note in found["notes"]]
    told.append(f"review {found['review_id']}: {STATES[found['state']][1]}, {one_line(found['reason'], 300)}")
    if found["state"] == "waiting":
        goes_on = "override --reason TEXT" if found["exit_code"] == 4 else "approve"
        told.append(f"a person answers with: cai review answer {found['run']} {found['review_id']} {goes_on}")
    return "".join(f"{line}\n" for line in told)


def verified_lines(run_id: str, entries: int, problems: Sequence[str]) -> str:
    """What the check of a record found."""
    if not problems:
        return f"the record of run {run_id} is as it was written: {entries:,} entries\n"
    head = f"the record of run {run_id} was changed; no approval in it counts until that is explained:\n"
    return head + "".join(f"  {one_line(problem, 400)}\n" for problem in problems)
