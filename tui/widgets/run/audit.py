"""What is known of the guard and of the critics, line by line: audits, and each sentinel's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.content import Content

from store.names import FRESH
from tui.live.standing import below_least, keeps_back
from tui.live.state import RunState
from tui.widgets.marks import QUIET, TONES, row
from tui.words.audits import GROUPS, KINDS, OTHERS, group_of
from tui.words.facts import Audit
from tui.words.text import one_line
from tui.words.wording import names

Checks = Sequence[Mapping[str, Any]]


def guard_line(state: RunState, checks: Checks, width: int) -> Content:
    """How many of the guard's checks passed, or the first that did not and why."""
    measured = [check for check in checks if check["passed"] is not None]
    passed = f" {sum(bool(check['passed']) for check in measured):,} of {len(measured):,}" if measured else ""
    if state.guard_passed is None:
        return row(("○ guard     ", "bold"), ("runs first, once the model is loaded", QUIET))
    if state.guard_passed:
        head, more = f"✓ guard     passed{passed}", "  base model, clean encoding"
        return row((head, f"bold {TONES['good']}"), (more if len(head) + len(more) <= width else "", QUIET))
    head = f"✗ guard     FAILED{passed and f', passed{passed}'}"
    failed = next((check for check in measured if not check["passed"]), None)
    why = names(state.guard_failed)
    if failed is not None:
        found = str(failed["detail"] or failed["answer"] or failed["condition"]).strip()
        why = f"{str(failed['check_id']).replace('_', ' ')}: {found}"
    return row((head, f"bold {TONES['bad']}"), f"  {one_line(why, max(10, width - len(head) - 2))}")


def critics_line(audits: Sequence[Audit]) -> Content:
    """Which critics may filter what, each with the AUC that lets it, and how many may not."""
    may: dict[tuple[str, str], Audit] = {}
    for one in audits:
        key = (one.subject_kind, one.critic)
        if one.may_filter and (key not in may or one.part in FRESH):  # items that no fit has seen tell most
            may[key] = one
    told = [
        f"{KINDS.get(one.subject_kind, one.subject_kind)} {one_line(one.critic, 16)} {one.part} AUC {_auc(one)}"
        for one in may.values()
    ]
    rest = len({(one.subject_kind, one.critic) for one in audits} - set(may))
    if not audits:
        return row(("○ critics   ", "bold"), ("audited before they may filter", QUIET))
    if not told:
        return row(("– critics   none may filter", f"bold {TONES['warn']}"), (f"  {rest:,} audited", QUIET))
    head = ("✓ critics   filter ", f"bold {TONES['good']}")
    return row(head, " · ".join(told), (f" · {rest:,} may not" if rest else "", QUIET))


def _auc(audit: Audit) -> str:
    return "–" if audit.auc is None else f"{audit.auc:.2f}"


def audit_lines(audits: Sequence[Audit], min_auc: float | None, width: int) -> list[Content]:
    """The critics' audits, those on labelled sets apart from those on fresh candidates and those by a person.

    Below a critic's parts stands which of them keeps it from filtering.
    """
    rows = []
    for title in (*dict(GROUPS), OTHERS):
        inside = [audit for audit in audits if group_of(audit.part) == title]
        rows += [row((title, f"{QUIET} underline"))] if inside else []
        for audit in inside:
            rows += _told(audit, width)
            same = [one for one in inside if (one.subject_kind, one.critic) == (audit.subject_kind, audit.critic)]
            if audit is same[-1] and not audit.may_filter and min_auc is not None:
                rows += [_reason_line(part, min_auc, width) for part in same if keeps_back(part, min_auc)]
    return rows


def _reason_line(audit: Audit, min_auc: float, width: int) -> Content:
    told = below_least(audit, min_auc)
    whole = f"  {one_line(audit.critic, 12)} may not filter: {told}"
    return row((whole if len(whole) <= width else f"  no filter: {told.replace(' items', '')}", TONES["warn"]))


def _told(audit: Audit, width: int) -> list[Content]:
    """AUC with interval, n, calibration error and whether it may filter; on two lines where one has no room for all."""
    name = 21 if width >= 52 else 13
    critic = one_line(f"{KINDS.get(audit.subject_kind, audit.subject_kind)} {audit.critic}", name - 1)
    head = row(f"{critic:<{name}}", (f"{audit.part:<8}", QUIET))
    if audit.no_scale:
        room = width - head.cell_length
        return [row(head, ("no scale: it decides nothing" if room >= 28 else "no scale", TONES["warn"]))]
    auc = "–" if audit.auc is None else f"{audit.auc:.3f}"
    interval = "" if audit.auc_lo is None or audit.auc_hi is None else f" [{audit.auc_lo:.2f}–{audit.auc_hi:.2f}]"
    error = "" if audit.calibration_error is None else f" calibration error {audit.calibration_error:.3f}"
    power, word, tone = ("✓", " filters", "good") if audit.may_filter else ("–", " unaudited", "warn")
    counts = ["", ""]
    if audit.n_good is not None and audit.n_bad is not None:
        counts = [f" {audit.n_good:,} good, {audit.n_bad:,} bad", f" {audit.n_good}+{audit.n_bad}"]
    ways = [
        (f"AUC {auc}{interval}", f"{n}{error}", power + end)
        for n, end in zip((*counts, counts[1]), (word, word, ""), strict=True)
    ]
    short = [(f"{label}{auc}", n, power) for label, n in (("AUC ", counts[1]), ("", counts[1]), ("", ""))]
    fits = [sum(map(len, way)) + 1 + head.cell_length <= width for way in (*ways, *short)]
    figures, n, told = next((way for way, fit in zip((*ways, *short), fits, strict=True) if fit), short[-1])
    first = row(head, figures, (f"{n} ", QUIET), (told, TONES[tone]))
    if any(fits[: len(ways)]) or not (interval or error):
        return [first]
    below = f" {interval}{'' if n else counts[1]}{error}"
    return [first, row((below if len(below) <= width else below.replace("calibration error", "cal."), QUIET))]


def check_lines(check: Mapping[str, Any], width: int) -> list[Content]:
    """A check of the guard: whether it passed, and the prompt and the answer, or what was found."""
    passed = check["passed"]
    shape, tone = ("·", "quiet") if passed is None else ("✓", "good") if passed else ("✗", "bad")
    head = row(
        (f"{shape} ", TONES[tone]),
        one_line(str(check["check_id"]).replace("_", " "), 34),
        (f" · {check['condition']}", QUIET),
    )
    out = [head]
    if check["prompt"]:
        out.append(row(("  prompt ", QUIET), one_line(str(check["prompt"]), width - 9)))
        out.append(row(("  answer ", QUIET), one_line(str(check["answer"]), width - 9)))
    elif check["detail"]:
        out.append(row((f"  {one_line(str(check['detail']), width - 2)}", QUIET)))
    return out
