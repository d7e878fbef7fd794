"""Whether the model is clean and the critics can be trusted: guard, audits, and each sentinel's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from store.names import AUDITED
from tui.live.state import RunState
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.words.audits import GROUPS, KINDS, OTHERS, group_of
from tui.words.facts import Audit
from tui.words.text import one_line
from tui.words.wording import names


class AuditPanel(VerticalScroll):
    """Scrolls: the verdicts are on top, every sentinel's prompt and answer below."""

    def __init__(self) -> None:
        super().__init__(id="audit", classes="panel")
        self.border_title = "Guard and critics"
        self._checks: Sequence[Mapping[str, Any]] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="audit-text", markup=False)

    def keep_checks(self, checks: Sequence[Mapping[str, Any]]) -> None:
        self._checks = checks

    def show(self, state: RunState) -> None:
        width = max(20, self.size.width - 4)
        rows = [_guard_line(state)]
        rows += _audit_lines(list(state.audits.values()), state.min_auc, width)
        if not state.audits:
            rows.append(row(("critics audited before they may filter", QUIET)))
        if self._checks:
            rows.append(row(("sentinels and checks", f"{QUIET} underline")))
            for check in self._checks:
                rows += _check_lines(check, width)
        self.border_subtitle = f"{len(self._checks)} checks ↓" if self._checks else ""
        self.query_one("#audit-text", Static).update(lines(rows))


def _guard_line(state: RunState) -> Content:
    if state.guard_passed is None:
        return row(("○ guard", "bold"), ("  runs first, once the model is loaded", QUIET))
    if state.guard_passed:
        return row(("✓ guard passed", f"bold {TONES['good']}"), ("  base model, clean encoding", QUIET))
    return row(("✗ guard FAILED", f"bold {TONES['bad']}"), f"  {names(state.guard_failed)}")


def _audit_lines(audits: Sequence[Audit], min_auc: float | None, width: int) -> list[Content]:
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
                rows += [_reason_line(part, min_auc, width) for part in same if _keeps_back(part, min_auc)]
    return rows


def _keeps_back(audit: Audit, min_auc: float) -> bool:
    """What a person labelled is told and decides nothing; an AUC that is undefined counts as none."""
    return audit.part in AUDITED and not audit.no_scale and (audit.auc or 0.0) < min_auc


def _reason_line(audit: Audit, min_auc: float, width: int) -> Content:
    auc = "undefined" if audit.auc is None else f"{audit.auc:.2f} < {min_auc:.2f}"
    if audit.auc is not None and f"{audit.auc:.2f}" == f"{min_auc:.2f}":
        auc = f"{audit.auc:.4f} < {min_auc:.4f}"
    whole = f"  {one_line(audit.critic, 12)} may not filter: {audit.part} items AUC {auc}"
    return row((whole if len(whole) <= width else f"  no filter: {audit.part} AUC {auc}", TONES["warn"]))


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


def _check_lines(check: Mapping[str, Any], width: int) -> list[Content]:
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
