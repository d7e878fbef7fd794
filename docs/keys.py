"""Write docs/KEYS.md from the bindings: `python docs/keys.py`; with --check only say whether it is current."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from textual.binding import Binding

from tui.app.app import ControlCenter
from tui.app.keys import PERSONAL_KEYS
from tui.widgets.endless import EndlessTable
from tui.widgets.evaluation.forest import Forest
from tui.widgets.run.accepted import AcceptedPanel
from tui.widgets.run.glance import GlancePanel
from tui.widgets.samples.detail import SampleDetail
from tui.widgets.samples.lineage import LineageScreen
from tui.widgets.training.first_batch import FirstBatchScreen
from tui.widgets.training.plan import TrainingPlanScreen
from tui.words.keys import key_name
from tui.words.places import PLACES

HERE = Path(__file__).parent


def shown(keys: str) -> str:
    """Keys as they stand on a keyboard."""
    names = [key_name(key.strip()) for key in keys.split(",")]
    return " ".join(f"`{name}`" for name in names)


def table(title: str, bindings: list[Binding]) -> str:
    rows = [f"| {shown(item.key)} | {item.description} | {item.tooltip} | `{item.id}` |" for item in bindings]
    return "\n".join([f"## {title}", "", "| key | name | what it does | id |", "| --- | --- | --- | --- |", *rows, ""])


def bindings_of(owner: type) -> list[Binding]:
    return [item for item in owner.__dict__.get("BINDINGS", []) if isinstance(item, Binding)]


def page() -> str:
    """The whole document."""
    head = (
        "# Keys\n\nWritten by `docs/keys.py` from the bindings, so it cannot go stale. `?` shows those that work where "
        "you are.\nAny of them can be changed by its id in the `[keymap]` of your configuration (`cai config` names "
        "the file).\n"
    )
    everywhere = [item for item in ControlCenter.BINDINGS if isinstance(item, Binding)]
    known = {item.id for item in everywhere}
    parts = [head, table("Everywhere", [*everywhere, *(item for item in PERSONAL_KEYS if item.id not in known)])]
    for place in PLACES:
        own = bindings_of(getattr(import_module(place.where[0]), place.where[1]))
        if place.name == "run":
            own += bindings_of(AcceptedPanel) + bindings_of(GlancePanel)
        if place.name == "samples":
            own += bindings_of(EndlessTable) + bindings_of(SampleDetail)
        if place.name == "evaluation":
            own += bindings_of(Forest)
        if own:
            parts.append(table(f"{place.key} {place.title}", own))
    parts.append(table("Lineage", bindings_of(LineageScreen)))
    parts.append(table("What would be trained", bindings_of(TrainingPlanScreen)))
    parts.append(table("First batch of a training", bindings_of(FirstBatchScreen)))
    return "\n".join(parts)


if __name__ == "__main__":
    target = HERE / "KEYS.md"
    if "--check" in sys.argv:
        sys.exit(target.read_text(encoding="utf-8") != page())
    target.write_text(page(), encoding="utf-8")
