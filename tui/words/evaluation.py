"""An evaluation in words, the same on the screen and on the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.figures import count, p_short, percent_of, percents, points_signed, points_signed_interval
from engine.evaluation import CONDITIONS
from engine.stats.shares import wilson
from store.names import READERS
from store.outcomes import (
    FAILED,
    NOT_TESTED,
    SPLIT_TITLES,
    gap_figure,
    gate_result,
    holds_over_seeds,
    in_percent,
    rate_of,
    shown,
    unread,
)
from tui.words.audits import agreement_words

Row = Mapping[str, Any]
SHARES = ("planted", "padding", "undecided")  # parts of the scorer's audit that measure a share
SCORES = {"grade": "rules met, of 1", "tokens": "tokens", "reference nats": "nats a token of the reference"}


def rate(row: Row) -> str:
    """The share that a condition has right, with its Wilson interval, its split, its n and how many are undecided."""
    right, n = row["n_right"], row["n"]
    left = f", {count(row['undecided'])} undecided" if row.get("undecided") else ""
    return rate_of(right, n, *wilson(right, n), row["split"]) + left


def condition_words(conditions: Sequence[Row], split: str = "test") -> list[str]:
    """One line a condition: what share it has right."""
    rows = [row for row in conditions if row["split"] == split]
    several = len({row["capability"] for row in rows}) > 1
    rows = sorted(rows, key=lambda row: (row["capability"] != "instruction_following", place(row["condition"])))
    return [
        f"{row['condition']:<17}{rate(row)}" + (f", {row['capability'].replace('_', ' ')}" if several else "")
        for row in rows
    ]


def place(condition: str) -> int:
    return CONDITIONS.index(condition) if condition in CONDITIONS else len(CONDITIONS)


def audit_words(audits: Sequence[Row]) -> list[str]:
    """The scorer's audit: how much was planted and judged as it must be, and what failed."""
    planted = [row for row in audits if row["part"] == "planted" and row["passed"] is not None]
    if not planted:
        return []
    n = sum(row["n"] for row in planted)
    worst = min((row for row in planted if row["measured"] is not None), key=_share, default=None)
    failed = [row for row in audits if row["passed"] is False]
    told = f"{count(n)} planted answers in {len(planted)} types"
    told += "" if worst is None else f", of the worst type {_measured_share(worst)} as they must be"
    rows = [told, *_error_words(audits)]
    rows += [f"✗ {row['part']} {row['subject']}: {_measured(row)}" for row in failed]
    return rows


def _error_words(audits: Sequence[Row]) -> list[str]:
    """How often the scorer errs on tricky answers: a line for each way, of all types and of the worst one."""
    rows = []
    for part, of in (("false accepts", "wrong"), ("false rejects", "right"), ("abstains", "")):
        known = [row for row in audits if row["part"] == part and row["measured"] is not None]
        types = [row for row in known if row["subject"] != "all"]
        for row in (row for row in known if row["subject"] == "all"):
            worst = max((one for one in types if one["capability"] == row["capability"]), key=_share)
            rows.append(
                f"{part} {_measured_share(row)} {of}{' ' if of else ''}tricky answers, "
                f"worst {worst['subject'].replace('_', ' ')} {_measured_share(worst)}"
            )
    return rows


def _share(row: Row) -> float:
    return float(row["measured"])


def _measured_share(row: Row) -> str:
    """A share of the scorer's audit: in per cent, with its interval where it has one, and its n."""
    interval = "" if row["lo"] is None else f" {percents(row['lo'], row['hi'])}"
    return f"{100 * row['measured']:.1f} %{interval} of {count(row['n'])}"


def _measured(row: Row) -> str:
    if row["measured"] is not None and row["part"] in SHARES:
        return f"{_measured_share(row)}, must be {row['op']} {100 * row['threshold']:g} %"
    value = "not measured" if row["measured"] is None else f"{row['measured']:.3f}"
    return f"{value}, must be {row['op']} {row['threshold']:g} (n {count(row['n'])})"


def repeat_words(repeats: Sequence[Row]) -> list[str]:
    """How far a slice that was asked again, one at a time, agreed."""
    n = sum(row["n"] for row in repeats)
    if not n:
        return []
    texts, verdicts = (sum(row[name] for row in repeats) for name in ("texts", "verdicts"))
    splits = " and ".join(
        SPLIT_TITLES[name] for name in ("dev", "test") if any(name in row["splits"] for row in repeats)
    )
    told = f"{count(n)} answers ({splits}) asked again alone"
    return [f"{told}: {count(texts)} texts and {count(verdicts)} verdicts differ"]


def gap_words(gap: Sequence[Row]) -> str:
    """The gap gate in one line, "" where it was not decided."""
    if not gap:
        return ""
    told = ", ".join(f"{row['check_name'].replace('_', ' ')} {gap_figure(row)} (needs {_needs(row)})" for row in gap)
    result = gate_result(gap)
    return f"gap gate {'FAILED' if result == FAILED else result}: {told}"


def _needs(row: Row) -> str:
    told = in_percent(row)
    return f"{row['op']} {row['threshold']:g}" if told is None else told[2]


def gap_against(gap: Sequence[Row]) -> str:
    """Why the gap gate lets no claim be made, "" where every check of it passed."""
    if not gap:
        return "the gap gate was not decided"
    if gate_result(gap) == FAILED:
        return "the gap gate failed"
    untested = sum(row["result"] == NOT_TESTED for row in gap)
    return f"the gap gate could not test {untested:,} of {len(gap):,} checks" if untested else ""


def guard_words(guard: Sequence[Row]) -> str:
    """Why the contamination guard lets no claim be made, "" where it does."""
    failed = [str(row["check_id"]) for row in guard if row["passed"] is False]
    if failed:
        return f"the contamination guard failed ({', '.join(failed)})"
    return "" if guard else "the contamination guard has not run"


def registration_caveat(body: Row, items_sha256: str, scorer_sha256: str) -> str:
    """What a registration is worth for the items and verifiers that there are now, "" where they are those it names."""
    if body.get("items_sha256") not in (None, items_sha256):
        return "for other items than these: it counts for nothing"
    if body.get("scorer_sha256") not in (None, scorer_sha256):
        return "the verifiers were changed since, which a report names as a deviation"
    return ""


def difference_words(row: Row) -> str:
    return f"{points_signed(row['difference'])} {points_signed_interval(row['lo'], row['hi'])}"


def score_words(scores: Sequence[Row]) -> list[str]:
    """What answers differ by that is no yes or no, a line a measure of the last comparison that has them."""
    last = max(((place(row["after"]), -place(row["before"])) for row in scores), default=None)
    rows = [row for row in scores if (place(row["after"]), -place(row["before"])) == last]
    return [
        f"{row['before']} → {row['after']} {SCORES.get(row['measure'], row['measure'])} {row['before_mean']:.2f} → "
        f"{row['after_mean']:.2f}: {row['difference']:+.2f}"
        + ("" if row["lo"] is None else f" [{row['lo']:+.2f}, {row['hi']:+.2f}]")
        + f", p {p_short(row['p'])} over {count(row['clusters'])} templates"
        + ("" if row["dz"] is None else f"; d_z {row['dz']:+.2f} [{row['dz_lo']:+.2f}, {row['dz_hi']:+.2f}]")
        + f", paired t p {p_short(row['t_p'])}, Wilcoxon p {p_short(row['wilcoxon_p'])}"
        + ("" if row["rank_biserial"] is None else f" with rank-biserial r {row['rank_biserial']:+.2f}")
        for row in rows
        if row["capability"] == rows[0]["capability"]
    ]


def readers_words(row: Row) -> str:
    """How far persons agree who read answers, from the row of the scorer's audit."""
    detail = json.loads(row["detail"]) if isinstance(row["detail"], str) else row["detail"]
    found = {"statistic": detail["statistic"], "value": row["measured"], "lo": row["lo"], "hi": row["hi"]}
    told = f"readers: {agreement_words(found | {'n': row['n'], 'readers': len(detail['readers'])})}"
    return told if row["passed"] is not False else f"{told}, too little: no claim can be made"


def read_words(audits: Sequence[Row]) -> list[str]:
    """Who judged answers blind, and how far they agree; a line where anybody did."""
    return [readers_words(row) for row in audits if row["part"] == READERS and row["n"]]


def seeds_words(rows: Sequence[Row]) -> list[str]:
    """One line a comparison of the first capability: the difference over seeds, and its spread between them."""
    return [
        f"{row['before']} → {row['after']} {points_signed(row['difference'])} points "
        + (f"{points_signed_interval(row['lo'], row['hi'])} " if row["lo"] is not None else "")
        + f"over {count(row['seeds'])} seeds and {count(row['clusters'])} templates, between seeds SD "
        f"{100 * row['between_sd']:.1f} {percents(row['between_lo'], row['between_hi'])}"
        + ("" if row["lo"] is not None else "; too few seeds for an interval")
        for row in rows
        if row["capability"] == rows[0]["capability"]
    ]


def seeds_against(results: Sequence[Row], seeds: Sequence[Row]) -> str:
    """Why repeats with other seeds let no claim be made of a registered difference, "" where they do."""
    for one in results:
        over = next((row for row in seeds if all(row[name] == one[name] for name in _COMPARED)), None)
        if one["role"] == "primary" and shown(one) and over is not None and not holds_over_seeds(one, over):
            return f"over {over['seeds']} seeds the interval has no difference in it"
    return ""


def unread_words(results: Sequence[Row], audits: Sequence[Row]) -> str:
    """Why persons have read too little of the scorer's verdicts for a registered claim, "" where they have not."""
    primary = next((row for row in results if row["role"] == "primary"), None)
    return "" if primary is None else unread(audits, primary["capability"])


_COMPARED = ("capability", "before", "after")


def decided_words(row: Row) -> str:
    """The p that decides and over how many templates, with what McNemar's test says of items taken for independent.

    A result of an earlier version was decided by McNemar's test; beside it stands its p with templates as clusters.
    """
    if str(row["test"]).startswith("McNemar"):
        by_items = f"p {p_short(row['p'])} by McNemar's test of items"
        return f"{by_items}, {p_short(row['clustered_p'])} with templates as clusters"
    told = f"p {p_short(row['p'])} over {count(row['clusters'])} templates"
    return f"{told} (of items, by McNemar's test, {p_short(row['mcnemar_p'])})"


def result_words(row: Row) -> list[str]:
    """A comparison as the cells of a table."""
    return [
        f"{row['before']} → {row['after']}"
        + ("" if row["capability"] == "instruction_following" else ", conversation"),
        count(row["n"]),
        percent_of(row["before_right"], row["n"]),
        percent_of(row["after_right"], row["n"]),
        difference_words(row),
        p_short(row["p"]),
        p_short(row["p_corrected"]),
        f"{row['effect_name']} {row['effect']:+.2f}",
        str(row["role"]),
    ]
