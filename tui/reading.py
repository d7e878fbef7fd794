"""What the panes ask for is read in a thread and handed back to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.screen import Screen

    from tui.session import Session
    from tui.state import RunState
    from tui.widgets.gate import GatePanel
    from tui.widgets.log import LogPane
    from tui.widgets.samples import SamplesPane


class Reading:
    """The part of the app that answers its panes; it is mixed into the app, which has the attributes named here."""

    if TYPE_CHECKING:
        session: Session
        state: RunState
        critic: tuple[str, str] | None
        desk: Screen[object]

        def background(
            self, what: str, work: Callable[[], Any], then: Callable[[Any], None] | None = None, group: str = ""
        ) -> None: ...

    @property
    def samples(self) -> SamplesPane:
        from tui.widgets.samples import SamplesPane

        return self.desk.query_one(SamplesPane)

    @property
    def gate_panel(self) -> GatePanel:
        from tui.widgets.gate import GatePanel

        return self.desk.query_one(GatePanel)

    @property
    def log_pane(self) -> LogPane:
        from tui.widgets.log import LogPane

        return self.desk.query_one(LogPane)

    def on_samples_pane_page_wanted(self, event: SamplesPane.PageWanted) -> None:
        from tui.library import PAGE

        library, run_id = self.session.library, self.state.run_id
        if library is None or not run_id:
            return
        critic = self.critic[0] if self.critic and self.critic[1] == "sample" else None
        self.background(
            "reading samples",
            lambda: library.samples(run_id, event.verdict, event.page * PAGE),
            lambda rows: self.samples.show_page(rows, critic, PAGE),
            group="samples",
        )

    def on_samples_pane_sample_wanted(self, event: SamplesPane.SampleWanted) -> None:
        from tui.widgets.detail import SampleDetail

        library, run_id = self.session.library, self.state.run_id
        if library is None or not run_id:
            return
        self.background(
            "reading a sample",
            lambda: library.sample(run_id, event.sample_id),
            lambda sample: self.desk.query_one(SampleDetail).show(sample, self.state.accept_above),
            group="sample",
        )

    def on_gate_panel_offenders_wanted(self, event: GatePanel.OffendersWanted) -> None:
        library, run_id = self.session.library, self.state.run_id
        if library is None:
            return
        panel = self.gate_panel
        self.background(
            "reading a gate's evidence",
            lambda: library.offenders(run_id, event.subject_ids),
            lambda found: panel.show_offenders(event.check, found),
            group="offenders",
        )
