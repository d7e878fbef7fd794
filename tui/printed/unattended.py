"""A run that goes on after its terminal is gone, told to the log."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui.host.hangup import LOOK_S, Watch
from tui.host.left import marker_path
from tui.host.outside import NOWHERE, NotTold, Outside
from tui.printed.progress import PlainView
from tui.printed.tables import console_on
from tui.words.wording import again_with, outcome_words

if TYPE_CHECKING:
    from engine.run.engine import Engine
    from engine.run.same import EndedRun
    from tui.live.bridge import Bridge
    from tui.live.conductor import Session
    from tui.live.state import RunState


def go_on(session: Session, bridge: Bridge, state: RunState, watch: Watch, outside: Outside = NOWHERE) -> str:
    """See the run to its end without a screen, telling the log how far it is; then close the store.

    Returns the state that the run ended in, which is told `outside`, too. The run is stopped at its next commit where
    it needs a person, or is paused, and no screen follows it from another process, and where a signal asks for it.
    """
    engine = session.engine
    if engine is None:  # it goes on in another process, if at all
        session.leave()
        return ""
    _mark(session.store_path, engine.run_id)
    try:
        _see_to_the_end(engine, bridge, state, watch)
        ended = "failed" if engine.outcome is None else engine.outcome.state
        with contextlib.suppress(NotTold):  # there is no screen to say so
            outside.tell(engine.run_id, outcome_words(ended, state.aside))
        return "" if engine.outcome is None else ended
    finally:
        session.leave()
        with contextlib.suppress(OSError):
            marker_path(session.store_path).unlink()


def _see_to_the_end(engine: Engine | EndedRun, bridge: Bridge, state: RunState, watch: Watch) -> None:
    view = PlainView(console_on(sys.stdout), state)
    view.say("warning", f"The connection dropped. The run goes on in process {os.getpid()}; kill it to stop the run.")
    stopping = False

    def tell() -> None:
        for event in bridge.drain():
            state.apply(event)
            view.tell(event)
        view.tick()

    while not engine.join(LOOK_S):
        tell()
        if not stopping and (reason := watch.why_stop(followed=engine.store.channel.watched())):
            stopping = True
            go_on = f"cai {again_with(engine.run_id, state.aside, state.changed, state.suites)}"
            view.say("warning", f"{reason}: stopping at the next commit. Go on with: {go_on}")
            engine.stop()
    tell()


def _mark(store: Path, run_id: str) -> None:
    """Note beside the store who goes on with which run. Nothing depends on it but what the next cai says."""
    told: dict[str, Any] = {"pid": os.getpid(), "run": run_id, "since": datetime.now(UTC).isoformat()}
    path = marker_path(store)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_text(json.dumps(told))
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
