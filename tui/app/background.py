"""Blocking work runs in threads; its result comes back to the screen's thread, and no failure goes unseen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from textual.app import App
from textual.worker import Worker, WorkerState

if TYPE_CHECKING:
    from tui.config.settings import Config
    from tui.live.conductor import Session
    from tui.live.state import RunState
    from tui.rooms import Room
    from tui.widgets.frame.dock import QuestionDock
    from tui.widgets.frame.notice import Notice
    from tui.widgets.frame.told import MessageLines
    from tui.words.questions import DockedQuestion


class Working(App[str]):
    """The base of the app's parts, which have of each other what is named here."""

    config: Config
    state: RunState
    session: Session
    notice: Notice
    told: MessageLines
    dock: QuestionDock
    _opened_anew: bool  # whether the run is being shown from its start, so that its end is told again
    _after: dict[Worker[Any], Callable[[], object]]

    if TYPE_CHECKING:

        @property
        def room(self) -> Room: ...
        @property
        def standing(self) -> bool: ...

        def paint(self) -> None: ...
        def consult_again(self) -> None: ...
        def ask(self, question: DockedQuestion, then: Callable[[str, str], None]) -> None: ...
        def put_question(self, run_id: str, payload: Mapping[str, Any]) -> None: ...
        def show_what_is_there(self, found: tuple[str | None, dict[str, Any] | None]) -> None: ...
        def done_elsewhere(self, command: str) -> bool: ...
        def show_failure(self, what: str, error: BaseException) -> None: ...
        def ask_here(self, question: DockedQuestion) -> None: ...
        def begin(self, how: Callable[[], str], about: RunState | None = None) -> None: ...
        def show_run(self, run_id: str) -> None: ...
        def load_history(self, run_id: str) -> None: ...
        def open_room(self, name: str, subject: str = "") -> None: ...

    def background(
        self, what: str, work: Callable[[], Any], then: Callable[[Any], object] | None = None, group: str = ""
    ) -> None:
        """Run blocking `work` in a thread, `then` with its result here; a newer work of the same group replaces it."""
        found: list[Any] = []  # not the worker's own result: a worker lingers in a cycle, with whatever it gave

        def run() -> None:
            found.append(work())

        worker = self.run_worker(
            run, name=what, group=group or what, exclusive=bool(group), thread=True, exit_on_error=False
        )
        if then is not None:
            self._after[worker] = lambda: then(found.pop())

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state not in (WorkerState.SUCCESS, WorkerState.ERROR, WorkerState.CANCELLED):
            return
        then = self._after.pop(event.worker, None)
        if event.state is WorkerState.SUCCESS and then is not None:
            then()
        elif event.state is WorkerState.ERROR and event.worker.error is not None:
            self.show_failure(event.worker.name, event.worker.error)
