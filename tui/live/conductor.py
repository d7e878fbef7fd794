"""The engine and the store as one screen uses them. Every method that touches them blocks: call it in a worker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.run.orders import NewRun, Order, Resume
from store.names import REPEAT_OF, RESUMABLE
from tui.reads.library import Library

if TYPE_CHECKING:
    from engine.core.events import Emit
    from engine.run.engine import Engine
    from engine.run.same import EndedRun, OpenEngine
    from store.db import Store


class Session:
    """At most one engine and one library at a time; the library reads through the engine's store while there is one."""

    def __init__(self, store_path: Path, open_engine: OpenEngine, emit: Emit) -> None:
        self.store_path = store_path
        self._open_engine = open_engine
        self._emit = emit
        self.engine: Engine | EndedRun | None = None
        self.library: Library | None = None
        self._hands = threading.RLock()  # whoever opens, closes or writes the store does so alone

    def look(self) -> tuple[str | None, dict[str, Any] | None]:
        """Open the store for reading. Returns the run to show and, if work is left in it, its row to offer."""
        with self._hands:
            self.library = Library.look(self.store_path)
            found = self.library.runs() if self.library else []
            runs = [run for run in found if REPEAT_OF not in run["manifest"]]  # its repeats are seen where it is
        if not runs:
            return None, None
        unfinished = next((run for run in runs if run["state"] in RESUMABLE), None)
        shown = unfinished or runs[0]
        return str(shown["run_id"]), unfinished

    def begin(self, order: Order) -> str:
        """Open the engine and start it; the store is let go first, because a file has one owner.

        Where the engine cannot be opened, what is stored can be looked at again.
        """
        with self._hands:
            self.let_go()
            try:
                engine = self._open_engine(order, self._emit)
            except BaseException:
                with contextlib.suppress(Exception):  # that the engine failed is what has to be told
                    self.library = Library.look(self.store_path)
                raise
            self.engine = engine
            self.library = Library.of_engine(engine)
        engine.start()
        return engine.run_id

    def begin_new(self, **options: Any) -> str:
        """A new run, also where the store has one like it; `options` are those of NewRun but the store."""
        return self.begin(NewRun(self.store_path, another=True, **options))

    def begin_again(self, run_id: str) -> str:
        return self.begin(Resume(self.store_path, run_id))

    def write(self, work: Callable[[Store], Any]) -> Any:
        """Do `work` on a store that may be written: the engine's, or the file opened for that long.

        Raises StoreLocked, with nothing written, where another process reads the file at that moment.
        """
        from store.db import Store

        with self._hands:
            if self.engine is not None:
                return work(self.engine.store)
            if self.library is not None:
                return self.library.write(lambda: Store.open(self.store_path), work)
            with Store.open(self.store_path) as store:
                return work(store)

    def let_go(self) -> None:
        """Close what is open; closing twice is fine."""
        with self._hands:
            library, self.library = self.library, None
            if library is not None:
                library.close()
            engine, self.engine = self.engine, None
            if engine is not None:
                engine.close()
