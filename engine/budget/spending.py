"""What a session of work costs while it goes on: the device's time by phase, warnings, and the end at the cap."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from engine.budget.ledger import Ledger, cap_of
from engine.budget.meter import GpuMeter
from engine.budget.prices import gpu_price, storage_price
from engine.core.errors import BudgetReached
from engine.spec.stage import StageSpec
from store.db import Store
from store.errors import CaiError

EVERY_S = 2.0  # between two looks at the cap
WRITE_EVERY_S = 5.0  # between two rows of the device's time
OPENING = "opening"  # the phase before the first one: finding the run, loading the model


class Spending:
    """The ledger of one session, its meter running for as long as one is inside; enter it before the device is used.

    `look` is called whenever something happened: it tells warnings once, and where the cap is reached it calls `stop`
    and keeps why in `reached`. A cap that is reached already raises BudgetReached on entering.
    """

    def __init__(
        self,
        store: Store,
        run: Mapping[str, Any],
        spec: StageSpec,
        session_id: str,
        price_per_gpu_hour: float | None,
        price_per_gib_month: float | None,
        tell: Callable[[str], None],
        stop: Callable[[], None],
    ) -> None:
        with store.reader() as reader:
            cap = cap_of(reader, spec)
        warn_at = spec.budget.warn_at if spec.budget is not None else ()
        self.ledger = Ledger(store, run["run_id"], session_id, cap, warn_at=warn_at)
        device = str((run["manifest"].get("model") or {}).get("device") or "device")
        self._storage = storage_price(price_per_gib_month, "volume")
        self._stage = spec.stage
        self._meter = GpuMeter(
            self.ledger, gpu_price(price_per_gpu_hour, device), OPENING, spec.stage, every_s=WRITE_EVERY_S
        )
        self._tell, self._stop = tell, stop
        self._looked_at = float("-inf")
        self.reached: BudgetReached | None = None

    def __enter__(self) -> Spending:
        try:
            self._warn()
            self.ledger.record_storage(self._storage, OPENING, self._stage)
            self._meter.__enter__()
        except BaseException:
            self.ledger.close()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._meter.__exit__(kind, error, trace)
            with contextlib.suppress(CaiError):  # the next session counts the time since the last row
                self.ledger.record_storage(self._storage, OPENING, self._stage)
        finally:
            self.ledger.close()

    def look(self, phase: str | None = None) -> None:
        """Time has passed, and counts for `phase` from now on."""
        self._meter.tick(phase)
        now = time.monotonic()
        if self.reached is not None or now - self._looked_at < EVERY_S:
            return
        self._looked_at = now
        try:
            self._warn()
        except BudgetReached as error:
            self.reached = error
            self._stop()

    def _warn(self) -> None:
        if warning := self.ledger.check():
            self._tell(warning)
