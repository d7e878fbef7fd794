"""The questions that the screen asks of its own, and how a question of the engine's is put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine.core.errors import Interrupted
from store.errors import CaiError
from store.names import EVALUATION, REFIT, TRAINED
from tui.app.background import Working
from tui.words.facts import of_wanted
from tui.words.questions import Choice, DockedQuestion

if TYPE_CHECKING:
    from textual.notifications import SeverityLevel

    from store.headline import Readings

APPROVE = Choice("y", "approve", "approve")
KEEP = Choice("n", "keep running", "keep")


def resume(run_id: str, accepted: int, target: int) -> DockedQuestion:
    text = f"Run {run_id} is unfinished: {of_wanted(accepted, target)}. Go on with it?"
    choices = (Choice("enter", "resume it", "resume"), Choice("escape", "only look", "look"))
    return DockedQuestion(f"resume:{run_id}", "Unfinished run", text, choices, on_escape="look")


def read(run_id: str, found: Readings) -> DockedQuestion:
    """Offered where a run has ended and a person has not read what was drawn."""
    text = (
        f"{found.left:,} candidates of this run are drawn at random for you to read, accepted and rejected ones mixed, "
        "with the verdict hidden; two keys an item. Until they are read every page says so."
    )
    choices = (Choice("y", "read them now", "read"), Choice("n", "later: B in the room Samples (2)", "later"))
    return DockedQuestion(f"readings:{run_id}", "Read before you call it done", text, choices, on_escape="later")


def stop(aside: Sequence[str] = ()) -> DockedQuestion:
    """`aside` names what is done instead of going on with the run: phases of training, evaluation, or refit."""
    text = "Stop the run? The batch under way is finished and stored; the run can be resumed later."
    finish, keep = "finish the batch and stop", "keep running"
    if EVALUATION in aside:
        text = (
            "Stop the evaluation? The answers so far are stored: e in the room Evaluation (6) goes on, and asks only "
            "what is missing."
        )
        keep = "keep evaluating"
    elif REFIT in aside:
        text = "Stop the refit? The run stays as it was; R in the room Samples (2) refits later, from where it was."
        keep = "keep refitting"
    elif aside:
        text = (
            "Stop the training? The step under way is finished and kept as a checkpoint, from which n in the room "
            "Training (5) goes on to the same result."
        )
        finish, keep = "finish the step, keep it and stop", "keep training"
    choices = (Choice("y", finish, "stop"), Choice("n", keep, "keep"))
    return DockedQuestion("stop", "Stop", text, choices, on_escape="keep")


def leave(aside: Sequence[str] = (), *, already: bool) -> DockedQuestion:
    """Asked while a run is going on; `already` is whether the run was told to stop before."""
    training = bool(set(aside) & set(TRAINED))
    choices: tuple[Choice, ...]
    if training and already:
        text = "The training finishes its step and keeps it. Leaving now loses the steps since the last checkpoint."
        choices = (Choice("w", "wait for the step", "keep"), Choice("x", "leave now", "now"))
    elif training:
        text = "A model is being trained. It can go on later from a checkpoint. Stop it and leave?"
        now = Choice("x", "leave now, losing the steps since the last checkpoint", "now")
        choices = (Choice("y", "finish the step, keep it and leave", "stop"), now, Choice("n", "keep training", "keep"))
    elif already:
        text = "The run is finishing its batch. What is committed is safe; leaving now loses the batch under way."
        choices = (Choice("w", "wait for the batch", "keep"), Choice("x", "leave now", "now"))
    else:
        text = "A run is going on. It can be resumed: cai offers it next time. Stop it and leave?"
        if REFIT in aside:
            text = "A probe is being fitted. Until it is done the run stays as it was. Stop it and leave?"
        elif aside:
            text = "An evaluation is going on. Its answers are kept, and it goes on where it was. Stop it and leave?"
        now = Choice("x", "leave now, losing the batch under way", "now")
        choices = (Choice("y", "finish the batch, stop and leave", "stop"), now, KEEP)
    return DockedQuestion("quit", "Leave", text, choices, on_escape="keep")


def decide(question_id: str, topic: str, text: str, review: Mapping[str, Any] | None = None) -> DockedQuestion:
    """A decision that the engine waits for; `review` says what a reviewer answered and why a person is asked.

    Where the reviewer said No, only an override with a reason goes on.
    """
    title = f"Decision · {topic.replace('_', ' ')}" if topic else "Decision"
    fields = (review or {}).get("review")
    refused = fields is not None and fields["approval"] == "No"
    parts = [text]
    if review is not None and fields is None and review.get("why"):
        parts.append(f"({review['why']})")
    if review is not None and fields is not None:
        parts.append(f"{review['reviewer']} says {fields['approval'].upper()}. {fields['recommendation']}")
        parts.append(f"Why: {fields['reasoning']} Risks: {fields['risks']}")
    reject = Choice("n", "reject", "reject", asks="why not")
    override = Choice("o", "override", "override", asks="why, against the reviewer")
    choices = [reject, override] if refused else [APPROVE, reject]
    choices.append(Choice("m", "modify", "modify", asks="settings to change: key=value; key=value"))
    if fields is not None:
        choices.append(Choice("f", "ask the reviewer", "ask", asks="what you want to know"))
    choices.append(Choice("d", "decide later", "defer"))
    return DockedQuestion(f"engine:{question_id}", title, "\n".join(parts), tuple(choices), more="questions")


class Telling(Working):
    """The part of the app that tells of problems."""

    def show_failure(self, what: str, error: BaseException) -> None:
        if isinstance(error, Interrupted):  # the screen is being left
            return
        if isinstance(error, CaiError):
            title, hint = error.title, error.hint
        else:
            title = f"{what} failed: {type(error).__name__}: {error}"
            hint = "What was committed to the store is safe. The log (9) may say more."
        if what in ("opening the run", "opening the store") and not self.state.active:
            self.state.state, self.state.reason = "failed", title
            self.consult_again()
        self.state.note("error", title)
        self.notice.tell(title, hint)
        self.paint()

    def show_end(self, state: str, reason: str) -> None:
        title, hint = f"{reason[:1].upper()}{reason[1:]}", ""
        if state == "locked":
            hint = "Nothing was trained and nothing is lost. n in the room Training (5) shows every lock."
        elif state == "failed" and self.state.trains:
            title = reason or "The training failed"
            hint = "What was reached is kept: n in the room Training (5) goes on from there. 9 shows the log."
        elif state == "failed" and self.state.refits:
            title, hint = (
                reason or "The refit failed",
                "The run is as it was, and every label is kept. 9 shows the log.",
            )
        elif state == "refused":
            hint = "Every answer is kept. The room Evaluation (6) shows what failed; e there evaluates again."
        elif state == "gate_failed" and self.state.guard_passed is False:
            title = "The contamination guard failed"
            hint = (
                "Nothing is lost, and no samples exist yet. 1 shows each prompt with its answer. Another base model is "
                "taken with cai run --model, other limits with cai run SPEC --set guard.KEY=VALUE."
            )
        elif state == "gate_failed":
            title = f"A gate failed: {reason}"
            hint = "Nothing is lost. 4 shows each check and the samples against it, 3 tries other thresholds."
        else:
            title = reason or "The run failed"
            if "Nothing was" not in title:  # it says itself what is safe and what to do
                hint = "What was committed is safe, and the run can be resumed with cai resume. 9 shows the log."
        self.notice.tell(title, hint)

    def action_close_notice(self) -> None:
        self.notice.close()

    def notify(
        self, message: str, *, title: str = "", severity: SeverityLevel = "information", timeout: float | None = None,
        markup: bool = True,
    ) -> None:  # fmt: skip
        """As Textual has it; it is shown in lines of its own instead of over the room."""
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)
        if self.standing:
            self.told.tell(message, severity)
