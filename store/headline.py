"""What kind of acceptance a run's was, in the words of every face: by whom, what is known of its quality, who read it.

Header, `status`, `runs`, the end of a run, report and card all ask here, so that none says more than another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from store.audits import audit_rows, good_of
from store.names import FRESH, READ_AT_LEAST
from store.outcomes import PASSED, READ, READ_GOOD, READ_NAMES, gate_result, with_result

if TYPE_CHECKING:
    from store.query import Query

BY_BASIS = (
    "SELECT run_id, basis AS name, count(*) AS n FROM verdicts WHERE run_id IN (SELECT unnest(?::VARCHAR[])) "
    "AND subject_kind = 'sample' AND verdict = 'accepted' GROUP BY ALL ORDER BY ALL"
)
# What the latest gate of samples says of what a person read.
READ_ROWS = (
    "SELECT run_id, check_name, measured, lo, hi, n, threshold FROM gates "
    "WHERE run_id IN (SELECT unnest(?::VARCHAR[])) AND gate IN ('pilot', 'final') "
    "AND check_name IN (SELECT unnest(?::VARCHAR[])) "
    "QUALIFY gate = min(gate) OVER (PARTITION BY run_id)"  # final where there is one
)

GATE_ROWS = (
    "SELECT run_id, gate, check_name, measured, lo, n, op, threshold, passed FROM gates "
    "WHERE run_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY run_id, gate, check_name"
)


@dataclass(frozen=True, slots=True)
class Headline:
    """`told` in full and `short`, and what they rest on; `by_whom` is the full one without what a person read.

    `audited` where a critic's audit tells the share of good ones among all that are accepted, `read` where a person
    has read as many candidates as the spec asks for, some accepted ones among them; `shown` where both hold.
    """

    told: str
    short: str
    audited: bool
    read: bool
    shown: bool
    by_whom: str


@dataclass(frozen=True, slots=True)
class Readings:
    """How many of the `drawn` candidates a person has `read` blind, of the `asked` ones.

    `good` has by what was decided, accepted or not, the share that is good with its Wilson interval and its n: (share,
    lo, hi, n). It is empty until all that are drawn are read.
    """

    asked: int = READ_AT_LEAST
    drawn: int = 0
    read: int = 0
    good: Mapping[bool, tuple[float, float, float, int]] = field(default_factory=dict)

    @property
    def enough(self) -> bool:
        return 0 < self.asked <= self.read and True in self.good

    @property
    def left(self) -> int:
        """How many a person can still read; of a gate that tells of no draw as many as are asked for."""
        return max(0, (self.drawn or self.asked) - self.read)


NOT_READ = "not read by a person"


def readings(rows: Sequence[Mapping[str, Any]]) -> Readings:
    """From the rows of one gate that tell of it; of a gate without such rows nothing was read."""
    by_name = {row["check_name"]: row for row in rows}
    read = by_name.get(READ)
    if read is None:
        return Readings()
    good = {
        accepted: (row["measured"], row["lo"], row["hi"], row["n"])
        for accepted, name in READ_GOOD.items()
        if (row := by_name.get(name)) is not None and row["measured"] is not None
    }
    return Readings(int(read["threshold"]), read["n"], int(read["measured"] or 0), good)


def read_words(found: Readings) -> tuple[str, str]:
    """What a person found, in full and short: by what was decided, the share of good ones with interval and n."""
    if not found.read:
        return NOT_READ, "unread"
    if not found.good:
        return f"{found.read:,} of {found.drawn:,} read by a person", f"{found.read:,}/{found.drawn:,} read"
    told = [
        f"{100 * share:.0f} % good of {n:,} {'accepted' if accepted else 'not accepted'}, "
        f"{100 * lo:.0f}–{100 * hi:.0f} %"
        for accepted, (share, lo, hi, n) in found.good.items()
    ]
    short = f"{100 * found.good[True][0]:.0f} % read as good" if True in found.good else "none accepted was read"
    of = "" if found.read >= found.asked else f" ({found.read:,} of {found.asked:,} asked for)"
    return f"read by a person{of}: {'; '.join(told)}", short


def headline(by_basis: Mapping[str, int], good: Mapping[str, Any] | None, read: Readings | None = None) -> Headline:
    """From how many samples were accepted on which basis, what `good_among_accepted` tells of them, and who read."""
    by_whom, short, audited = _by_whom(by_basis, good)
    found, told = read or Readings(), by_whom
    if sum(by_basis.values()):
        whole, brief = read_words(found)
        told, short = f"{told} · {whole}", f"{short}, {brief}"
    return Headline(told, short, audited, found.enough, audited and found.enough, by_whom)


def _by_whom(by_basis: Mapping[str, int], good: Mapping[str, Any] | None) -> tuple[str, str, bool]:
    """In full, short, and whether quality was audited."""
    critic, accepted = by_basis.get("critic", 0), sum(by_basis.values())
    rules = accepted - critic
    if not accepted:
        return ("nothing accepted", "0 accepted", False)
    if not critic:
        return (f"{rules:,} by form rules · quality not audited", f"{rules:,} by rules, not audited", False)
    if rules:
        told = f"{critic:,} by the audited critic, {rules:,} by form rules · quality of these not audited"
        return (told, f"{accepted:,}, {rules:,} not audited", False)
    if good is None or good.get("part") is None or not good.get("taken"):
        told = f"{critic:,} by the audited critic · share of good ones not known"
        return (told, f"{critic:,} by critic, share not known", False)
    fresh = good["part"] in FRESH
    auc = "" if good.get("auc") is None else f" ({'fresh' if fresh else 'cross-validated'} AUC {good['auc']:.2f})"
    share, interval = f"{100 * good['precision']:.0f} %", f"{100 * good['lo']:.0f}–{100 * good['hi']:.0f} %"
    told = f"{critic:,} by the audited critic{auc} · {share} good of {good['taken']:,} labelled, {interval}"
    return (told, f"{critic:,} by critic, {share} good", True)


def in_green(shown: bool, results: Iterable[str]) -> bool:
    """Whether what is done may be told in green: its quality is shown, and every gate passed by its result."""
    return shown and all(result == PASSED for result in results)


def told_in_green(told: Mapping[str, Any]) -> bool:
    """The same of what tells of a run by its `acceptance` and its `gates`, as `status` and `with_headlines` do."""
    return in_green(bool(told["acceptance"]["shown"]), (gate["result"] for gate in told["gates"]))


def of_runs(reader: Query, runs: Sequence[Mapping[str, Any]]) -> dict[str, Headline]:
    """The headline of each run, by its id."""
    ids = [run["run_id"] for run in runs]
    bases: dict[str, dict[str, int]] = {}
    for row in reader.query(BY_BASIS, [ids]):
        bases.setdefault(row["run_id"], {})[row["name"]] = row["n"]
    audits: dict[str, list[Mapping[str, Any]]] = {}
    for audit in audit_rows(reader, ids):
        audits.setdefault(audit["run_id"], []).append(audit)
    read = readings_of(reader, ids)
    return {
        name: headline(bases.get(name, {}), of_samples(good_of(audits.get(name, ()), run)), read[name])
        for name, run in zip(ids, runs, strict=True)
    }


def readings_of(reader: Query, run_ids: Sequence[str]) -> dict[str, Readings]:
    """What a person read of each run, by its id."""
    rows: dict[str, list[Mapping[str, Any]]] = {name: [] for name in run_ids}
    for row in reader.query(READ_ROWS, [list(run_ids), list(READ_NAMES)]):
        rows[row["run_id"]].append(row)
    return {name: readings(of) for name, of in rows.items()}


def with_headlines(reader: Query, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runs, each with its headline as `acceptance`, its `readings` and its `gates`, as values for JSON.

    Of a gate there are {name, result, passed}.
    """
    ids = [run["run_id"] for run in runs]
    found, read, gates = of_runs(reader, runs), readings_of(reader, ids), _gates_of(reader, ids)
    return [
        {**run, "acceptance": plain(found[name]), "readings": plain_readings(read[name]), "gates": gates[name]}
        for name, run in zip(ids, runs, strict=True)
    ]


def _gates_of(reader: Query, run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    checks: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in run_ids}
    for row in reader.query(GATE_ROWS, [list(run_ids)]):
        checks[row["run_id"]].setdefault(row["gate"], []).append(with_result(row))
    return {
        name: [
            {"name": gate, "result": (result := gate_result(rows)), "passed": result == PASSED}
            for gate, rows in of.items()
        ]
        for name, of in checks.items()
    }


def of_run(reader: Query, run: Mapping[str, Any]) -> Headline:
    """The headline of one run."""
    return of_runs(reader, [run])[run["run_id"]]


def of_samples(good: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """What `good_among_accepted` tells of samples, where it tells of them."""
    return next((one for one in good if one["kind"] == "sample"), None)


def plain(told: Headline) -> dict[str, Any]:
    """As values for JSON."""
    return asdict(told)


def readings_from(told: Mapping[str, Any]) -> Readings:
    """Of what `plain_readings` told."""
    by = ((accepted, told[name]) for accepted, name in ((True, "accepted"), (False, "not_accepted")))
    good = {accepted: (one["good"], one["lo"], one["hi"], one["n"]) for accepted, one in by if one}
    return Readings(told["asked"], told["drawn"], told["read"], good)


def plain_readings(found: Readings) -> dict[str, Any]:
    """As values for JSON: {asked, drawn, read, accepted, not_accepted}, the last two {good, lo, hi, n} or None."""
    by = {
        name: dict(zip(("good", "lo", "hi", "n"), found.good[accepted], strict=True))
        if accepted in found.good
        else None
        for accepted, name in ((True, "accepted"), (False, "not_accepted"))
    }
    return {"asked": found.asked, "drawn": found.drawn, "read": found.read, **by}
