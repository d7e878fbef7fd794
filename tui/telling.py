"""What went wrong, told in the notice above the bars: failures, and runs that ended in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.working import Working

if TYPE_CHECKING:
    from tui.state import RunState
    from tui.widgets.notice import Notice


class Telling(Working):
    """The part of the app that tells of problems; it is mixed into the app, which has what is named here."""

    if TYPE_CHECKING:
        state: RunState
        notice: Notice

        def consult_again(self) -> None: ...
        def paint(self) -> None: ...

    def show_failure(self, what: str, error: BaseException) -> None:
        title = getattr(error, "title", None) or f"{what} failed: {type(error).__name__}: {error}"
        hint = getattr(error, "hint", None)
        if hint is None:
            hint = "What was committed to the store is safe. The log (9) may say more."
        if what in ("opening the run", "opening the store") and not self.state.active:
            self.state.state, self.state.reason = "failed", str(title)
            self.consult_again()
        self.state.note("error", str(title))
        self.notice.tell(str(title), str(hint))
        self.paint()

    def show_end(self, state: str, reason: str) -> None:
        if state == "locked":
            hint = "Nothing was trained and nothing is lost. n in the room Training (5) shows every lock."
            self.notice.tell(f"{reason[:1].upper()}{reason[1:]}", hint)
        elif state == "failed" and self.state.trains:
            hint = "What was reached is kept: n in the room Training (5) goes on from there. 9 shows the log."
            self.notice.tell(reason or "The training failed", hint)
        elif state == "refused":
            hint = "Every answer is kept. The room Evaluation (6) shows what failed; e there evaluates again."
            self.notice.tell(f"{reason[:1].upper()}{reason[1:]}", hint)
        elif state == "gate_failed":
            hint = "Nothing is lost. 4 shows each check and the samples against it, 3 tries other thresholds."
            self.notice.tell(f"A gate failed: {reason}", hint)
        else:
            hint = "What was committed is safe, and the run can be resumed with cai resume. 9 shows the log."
            self.notice.tell(reason or "The run failed", hint)

    def action_close_notice(self) -> None:
        self.notice.close()
