"""What kind of acceptance a run's was, in the words of every face: by whom, and what is known of its quality.

Header, `status`, `runs`, the end of a run, report and card all ask here, so that none says more than another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from store.audits import audit_rows, good_of
from store.names import FRESH

if TYPE_CHECKING:
    from store.query import Query

BY_BASIS = (
    "SELECT run_id, basis AS name, count(*) AS n FROM verdicts WHERE run_id IN (SELECT unnest(?::VARCHAR[])) "
    "AND subject_kind = 'sample' AND verdict = 'accepted' GROUP BY ALL ORDER BY ALL"
)


@dataclass(frozen=True, slots=True)
class Headline:
    """`told` in full and `short`; `audited` where the share of good ones among all that are accepted is known."""

    told: str
    short: str
    audited: bool


def headline(by_basis: Mapping[str, int], good: Mapping[str, Any] | None) -> Headline:
    """From how many samples were accepted on which basis, and what `good_among_accepted` tells of them."""
    critic, accepted = by_basis.get("critic", 0), sum(by_basis.values())
    rules = accepted - critic
    if not accepted:
        return Headline("nothing accepted", "0 accepted", False)
    if not critic:
        return Headline(f"{rules:,} by form rules · quality not audited", f"{rules:,} by rules, not audited", False)
    if rules:
        told = f"{critic:,} by the audited critic, {rules:,} by form rules · quality of these not audited"
        return Headline(told, f"{accepted:,}, {rules:,} not audited", False)
    if good is None or good.get("part") is None or not good.get("taken"):
        told = f"{critic:,} by the audited critic · share of good ones not known"
        return Headline(told, f"{critic:,} by critic, share not known", False)
    fresh = good["part"] in FRESH
    auc = "" if good.get("auc") is None else f" ({'fresh' if fresh else 'cross-validated'} AUC {good['auc']:.2f})"
    share, interval = f"{100 * good['precision']:.0f} %", f"{100 * good['lo']:.0f}–{100 * good['hi']:.0f} %"
    read = f"{good['taken']:,} {'read' if fresh else 'labelled'}"
    told = f"{critic:,} by the audited critic{auc} · {share} good of {read}, {interval}"
    return Headline(told, f"{critic:,} by critic, {share} good", True)


def of_runs(reader: Query, runs: Sequence[Mapping[str, Any]]) -> dict[str, Headline]:
    """The headline of each run, by its id."""
    ids = [run["run_id"] for run in runs]
    bases: dict[str, dict[str, int]] = {}
    for row in reader.query(BY_BASIS, [ids]):
        bases.setdefault(row["run_id"], {})[row["name"]] = row["n"]
    audits: dict[str, list[Mapping[str, Any]]] = {}
    for audit in audit_rows(reader, ids):
        audits.setdefault(audit["run_id"], []).append(audit)
    return {
        run["run_id"]: headline(bases.get(run["run_id"], {}), of_samples(good_of(audits.get(run["run_id"], ()), run)))
        for run in runs
    }


def with_headlines(reader: Query, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs, each with its headline as `acceptance`, as values for JSON."""
    found = of_runs(reader, runs)
    return [{**run, "acceptance": plain(found[run["run_id"]])} for run in runs]


def of_run(reader: Query, run: Mapping[str, Any]) -> Headline:
    """The headline of one run."""
    return of_runs(reader, [run])[run["run_id"]]


def of_samples(good: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What `good_among_accepted` tells of samples, where it tells of them."""
    return next((one for one in good if one["kind"] == "sample"), None)


def plain(told: Headline) -> dict[str, Any]:
    """As values for JSON."""
    return asdict(told)
