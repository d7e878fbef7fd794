"""How a run stands: the weakest of its figures and why, and what waits for a person. Drawn from what is known already.

What failed comes before what was not shown, and that before what only came close to its threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.core.figures import measured_plain
from engine.quality.remedies import HELPS
from store.headline import read_words
from store.names import AUDITED
from store.outcomes import EMPTY, FAILED, FAILING, PASSED, beyond, too_few
from tui.live.idle import advice, waited
from tui.live.state import RunState
from tui.words.facts import Audit
from tui.words.wording import names

Row = Mapping[str, Any]
_KINDS = ("sample", "instruction", "revision", "candidate", "pair")  # in the order in which critics of them matter
_GAP = "gap"  # the gate of the evaluation


@dataclass(frozen=True, slots=True)
class Weakest:
    """The figure that is furthest from what it should be: its name, what is wrong, where, and what would help.

    `key` goes where there is more about it. `tone` is bad where it failed, warn where nothing was shown, good where it
    holds, quiet before anything is known.
    """

    name: str
    told: str
    tone: str
    key: str = ""
    where: str = ""
    helps: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """What waits for a person, and the key that goes there; none where it is a setting of the next start."""

    told: str
    key: str = ""


def weakest(state: RunState, checks: Sequence[Row], guard: Sequence[Row]) -> Weakest:
    """From the checks of all gates with their result, and those of the guard."""
    current = list({(row["check_name"], row["gate"].endswith(" pairs")): row for row in checks}.values())
    failing = [row for row in current if row["result"] in FAILING]
    few = [row for row in current if too_few(row)]
    below = sorted(
        (one for one in state.audits.values() if keeps_back(one, state.min_auc)), key=lambda one: one.auc or 0.0
    )
    if state.guard_passed is False:
        return _of_guard(state, guard)
    if failing:
        return _of_check(max(failing, key=beyond))
    if state.finished and not state.accepted:
        return Weakest("acceptance", state.headline.told, "bad", "2")
    if silent := _no_filter(state):
        return silent
    if few:
        row = min(few, key=lambda row: row["n"])
        return Weakest(_plain(row), f"not tested: {row['untested']}", "warn", _place(row))
    if state.accepted and not state.headline.audited:
        return Weakest("quality", state.headline.told, "warn", "2")
    if below:
        one = below[0]
        return Weakest(
            f"critic {one.critic}",
            f"of {one.subject_kind}s may not filter: {below_least(one, state.min_auc)}",
            "warn",
            "G",
        )
    held = [row for row in current if row["result"] == PASSED] + _audits_that_hold(state)
    if held:
        # A check without an interval, as one that a marker leaks nowhere, holds exactly and is never close.
        row = max([row for row in held if row["lo"] is not None] or held, key=beyond)
        return Weakest(_plain(row), f"closest to its threshold: {_measured(row)}", "good", _place(row))
    told = "nothing failed yet, the gates come last" if state.guard_passed else "nothing is measured yet"
    return Weakest("", told, "quiet")


def _audits_that_hold(state: RunState) -> list[Row]:
    """The audits that let a critic filter, as checks of their AUC."""
    return [
        {"check_name": f"AUC of {one.critic}, {one.subject_kind}s, {one.part}", "gate": "audit", "measured": one.auc,
         "lo": one.auc_lo, "hi": one.auc_hi, "n": one.n_good + one.n_bad, "op": ">=", "threshold": state.min_auc}
        for one in state.audits.values()
        if one.may_filter and one.auc is not None and state.min_auc is not None
        and one.n_good is not None and one.n_bad is not None
    ]  # fmt: skip


def _of_guard(state: RunState, guard: Sequence[Row]) -> Weakest:
    row = next((row for row in guard if row["passed"] is False), None)
    if row is None:
        return Weakest("guard", names(state.guard_failed), "bad", "G")
    found = str(row["detail"] or row["answer"] or row["condition"]).strip()
    return Weakest("guard", f"{str(row['check_id']).replace('_', ' ')}: {found}", "bad", "G")


def _of_check(row: Row) -> Weakest:
    told = f"nothing there, needs {row['op']} {measured_plain(row['threshold'])}"
    if row["result"] != EMPTY:
        told = _measured(row)
    helps = HELPS.get(str(row["check_name"]), "")
    return Weakest(_plain(row), told, "bad", _place(row), f"{row['gate']} gate", helps)


def _measured(row: Row) -> str:
    span = "" if row["lo"] is None else f" [{row['lo']:.2f}–{row['hi']:.2f}]"
    return (
        f"{measured_plain(row['measured'])}{span}, needs {row['op']} {measured_plain(row['threshold'])}, n={row['n']:,}"
    )


def _plain(row: Row) -> str:
    return str(row["check_name"]).replace("_", " ")


def _place(row: Row) -> str:
    return {"gap": "6", "audit": "G"}.get(str(row["gate"]), "4")


def _no_filter(state: RunState) -> Weakest | None:
    """The best critic of a kind of which none may filter; of samples first."""
    for kind in _KINDS:
        audits = [one for one in state.audits.values() if one.subject_kind == kind and one.part in AUDITED]
        if not audits or any(one.may_filter for one in audits):
            continue
        known = [one for one in audits if not one.no_scale]
        if not known:
            why = "none tells good anchors from corrupted ones"
        else:
            # The part that keeps a critic back is its worst one; of critics the best is told.
            worst = {one.critic: one for one in sorted(known, key=lambda one: one.auc or 0.0, reverse=True)}
            best = max(worst.values(), key=lambda one: one.auc or 0.0)
            why = f"best is {best.critic}, {below_least(best, state.min_auc)}"
        return Weakest(f"critics of {kind}s", f"none may filter: {why}", "warn", "G")
    return None


def keeps_back(audit: Audit, min_auc: float | None) -> bool:
    """Whether this part of an audit keeps its critic from filtering; what a person labelled decides nothing.

    An AUC that is undefined counts as none.
    """
    if min_auc is None or audit.may_filter or audit.no_scale:
        return False
    return audit.part in AUDITED and (audit.auc or 0.0) < min_auc


def below_least(audit: Audit, min_auc: float | None) -> str:
    """The AUC and what it has to be, with as many digits as tell them apart."""
    if audit.auc is None:
        return f"{audit.part} items AUC undefined"
    if min_auc is None:
        return f"{audit.part} items AUC {audit.auc:.2f}"
    digits = 4 if f"{audit.auc:.2f}" == f"{min_auc:.2f}" else 2
    return f"{audit.part} items AUC {audit.auc:.{digits}f} < {min_auc:.{digits}f}"


def needs(state: RunState, reviews: Sequence[str] = (), price_per_hour: float | None = None) -> list[Need]:
    """What waits for a person, the most urgent first; last what an idle GPU waits for.

    `reviews` are topics that nobody has decided. `price_per_hour` is in US dollars.
    """
    found = []
    waits = waited(state, price_per_hour)
    if state.questions:
        topics = [one.topic.replace("_", " ") or "a decision" for one in state.questions.values()]
        found.append(Need(f"{topics[0]} waits for your answer {waits}".rstrip(), "g"))
        if len(topics) > 1:
            others = len(topics) - 1
            found.append(Need(f"{others:,} more question{'' if others == 1 else 's'}", "4"))
    elif waits and price_per_hour is not None:
        found.append(Need(f"paused {waits}", "p"))
    elif reviews and not state.active:  # while the engine works its reviewer may be at it
        found.append(Need(f"review of {names(list(reviews))} to decide", "4"))
    elif state.state == "waiting":
        found.append(Need("a decision waits", "4"))
    for name, told in state.gates.items():
        if told.result == FAILED:
            first, rest = names(told.failed[:1]), len(told.failed) - 1
            more = f" and {rest:,} more" if rest > 0 else ""
            found.append(Need(f"{name} gate failed: {first}{more}", "6" if name == _GAP else "4"))
    ended = _ENDED.get(state.state)
    if ended is not None:
        found.append(ended)
    if state.state == "done" and state.accepted and state.readings.left:
        found.append(Need(read_words(state.readings)[0], "2"))
    if starved := advice(state):
        found.append(Need(starved))
    return found


_ENDED = {
    "locked": Need("training is locked", "5"),
    "refused": Need("the evaluation makes no claim", "6"),
    "failed": Need("it failed, the log says how", "9"),
    "interrupted": Need("interrupted: R there goes on", "7"),
    "stopped": Need("stopped: R there goes on", "7"),
    "budget_reached": Need("budget reached: R there goes on", "7"),
}
