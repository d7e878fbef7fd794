"""Engines for the screen and for commands: what the configuration says is put into each order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.run.orders import NewRun, Order
from tui.live.broadcast import Broadcast

if TYPE_CHECKING:
    from engine.core.events import Emit
    from engine.run.engine import Engine
    from engine.run.same import EndedRun, OpenEngine
    from tui.config.settings import Config


def opener(config: Config | None = None, *, present: bool = False) -> OpenEngine:
    """Opens an engine with the configuration's model, prices and reviewer; `present`: a person is there to answer.

    Other processes can follow it, and have it pause, stop and take answers.
    """

    def open_engine(order: Order, emit: Emit) -> Engine | EndedRun:
        from engine.run import same  # loads the store and what the engine computes with: not before the first frame

        order = order if config is None else _configured(order, config, present)
        broadcast = Broadcast(order, emit)
        engine = same.engine_for(order, broadcast.emit)
        broadcast.serve(engine)
        return engine

    return open_engine


def _configured(order: Order, config: Config, present: bool) -> Order:
    from tui.config.reviewer import reviewer_options

    order = replace(
        order,
        review=reviewer_options(config, present=present),
        price_per_gpu_hour=config.price_per_gpu_hour,
        price_per_gib_month=config.price_per_gib_month,
    )
    if isinstance(order, NewRun) and order.model is None and config.model:
        return replace(order, model=config.model)
    return order
