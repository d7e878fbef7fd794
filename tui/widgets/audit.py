"""Whether the model is clean and the critics can be trusted: guard, audits, and each sentinel's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.state import Audit, RunState
from tui.text import one_line
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.wording import names


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
        rows += [_audit_line(audit, width) for audit in state.audits.values()]
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


def _audit_line(audit: Audit, width: int) -> Content:
    auc = "  –  " if audit.auc is None else f"{audit.auc:.3f}"
    power = (
        ("✓ filters", TONES["good"])
        if audit.may_filter
        else ("– margins unaudited" if width >= 48 else "– unaudited", TONES["warn"])
    )
    name = 21 if width >= 52 else 13
    kind = {"instruction": "instr.", "sample": "pair"}.get(audit.subject_kind, audit.subject_kind)
    critic = one_line(f"{kind} {audit.critic}", name - 1)
    return row(
        f"{critic:<{name}}", (f"{audit.part:<8}", QUIET), ("AUC " if width >= 40 else "", QUIET), f"{auc} ", power
    )


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
