"""What the first run would take on this machine, for whoever is about to start it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.config.settings import Config


def forecast_start(config: Config) -> Mapping[str, Any]:
    """The default spec and the configured model, as `engine.planning.start.before_start` forecasts them.

    What keeps a run from being started is its `reason`, alone.
    """
    # Not before the first frame: these bring what the engine computes with.
    from engine.budget.gpus import prices_of
    from engine.core.nvidia import loads
    from engine.models.files.embedded import GEMMA
    from engine.planning.start import before_start
    from engine.run.opening import settle
    from engine.run.orders import NewRun
    from store.errors import CaiError

    try:
        settled = settle(NewRun(Path(config.store), model=config.model or None))
        return before_start(
            settled.loaded.name, settled.loaded.settings, settled.source.name, loads(), pilot=settled.pilot,
            usd_per_hour=config.price_per_gpu_hour, prices=prices_of(config.gpu_prices),
            fitted=settled.source.name == GEMMA,  # on the versions that the fits were made with
        )  # fmt: skip
    except CaiError as error:
        return {"reason": f"{error.title}. {error.hint}"}
