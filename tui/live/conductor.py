"""The engine and the store as one screen uses them. Every method that touches them blocks: call it in a worker."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core.errors import Interrupted
from engine.run.orders import NewRun, Order, Resume
from store.names import REPEAT_OF, RESUMABLE
from tui.reads.library import Library

LOOK_S = 0.1  # between two looks at a store whose owner has just gone

if TYPE_CHECKING:
    from engine.core.events import Emit
    from engine.run.engine import Engine
    from engine.run.same import EndedRun, OpenEngine
    from store.db import Store
    from store.serving.attached import Attached
    from tui.live.far import FarEngine


class Session:
    """At most one engine and one library at a time; the library reads through the engine's store while there is one.

    Where another process has the store, `owner` follows that one; `owner_gone` is called with it, from a thread, when
    that process has let go of the store.
    """

    def __init__(
        self, store_path: Path, open_engine: OpenEngine, emit: Emit, owner_gone: Callable[[FarEngine], object]
    ) -> None:
        self.store_path = store_path
        self._open_engine = open_engine
        self._emit = emit
        self._owner_gone = owner_gone
        self.engine: Engine | EndedRun | None = None
        self.owner: FarEngine | None = None
        self.library: Library | None = None
        self._hands = threading.RLock()  # whoever opens, closes or writes the store does so alone
        self.left = False  # for good: nothing begins any more

    def look(self) -> tuple[str | None, dict[str, Any] | None]:
        """Open the store for reading, or attach to the process that has it.

        Returns the run to show and, if work is left in it and nobody has it, its row to offer. Raises StoreLocked where
        the process that has it does not answer, and OwnerGone where one after the other goes while it is looked at.
        """
        from store.db import PATIENCE_S
        from store.errors import OwnerGone

        until = time.monotonic() + PATIENCE_S
        while True:
            with self._hands:
                self.let_go()
                try:
                    self.library = Library.look(self.store_path)
                    if self.library is not None and (attached := self.library.attached) is not None:
                        self._follow(attached)
                    return self._to_show()
                except OwnerGone:
                    self.let_go()
                    if time.monotonic() > until:
                        raise
            time.sleep(LOOK_S)

    def _to_show(self) -> tuple[str | None, dict[str, Any] | None]:
        found = self.library.runs() if self.library else []
        runs = [run for run in found if REPEAT_OF not in run["manifest"]]  # its repeats are seen where it is
        if not runs:
            return None, None
        if self.owner is not None:
            return self.owner.run_id or str(runs[0]["run_id"]), None
        unfinished = next((run for run in runs if run["state"] in RESUMABLE), None)
        shown = unfinished or runs[0]
        return str(shown["run_id"]), unfinished

    def attach_again(self) -> tuple[str | None, dict[str, Any] | None] | None:
        """Attach to the next process that has the store, and return what `look` does; None where there is none.

        Also None, with nothing changed, where the store is open here or attached to by now.
        """
        from store.errors import StoreError
        from store.serving.attached import Attached

        with self._hands:
            if self.conducted is not None or self.library is not None:
                return None
            try:
                attached = Attached.to(self.store_path)
                if attached is None:
                    return None
                self.library = Library(attached.reader(), attached)
                self._follow(attached)
                return self._to_show()
            except StoreError:  # it does not answer yet, or no more
                self.let_go()
                return None

    def _follow(self, attached: Attached) -> None:
        from tui.live.far import FarEngine

        try:
            self.owner = FarEngine.of(attached, self._emit, self._owner_gone)
        except BaseException:
            self.let_go()
            raise

    @property
    def conducted(self) -> Engine | EndedRun | FarEngine | None:
        """What takes a pause, a stop and a person's answers: the engine here, or in the process that is followed."""
        return self.engine or self.owner

    def begin(self, order: Order) -> str:
        """Open the engine and start it; the store is let go first, because a file has one owner.

        Where the engine cannot be opened, what is stored can be looked at again. Raises Interrupted once it was left.
        """
        with self._hands:
            if self.left:
                raise Interrupted("the control center was left before the run began", "Nothing was started.")
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

    def leave(self) -> None:
        """Close what is open, for good: what was about to begin in another thread does not begin any more."""
        with self._hands:
            self.left = True
            self.let_go()

    def let_go(self) -> None:
        """Close what is open; closing twice is fine."""
        with self._hands:
            library, self.library = self.library, None
            if library is not None:
                library.close()
            engine, self.engine = self.engine, None
            owner, self.owner = self.owner, None
            for one in (engine, owner):
                if one is not None:
                    one.close()
