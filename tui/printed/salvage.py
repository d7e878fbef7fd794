"""What the command line says of a store that was saved from a damaged one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.core.figures import count
from tui.printed.tables import fact


def salvage_report(found: Mapping[str, Any]) -> Group:
    """The report of `store.salvage.rescue.salvage`: rows by table, what is lost, and what to do with the new store."""
    known, saved = found["commits"]["known"], found["commits"]["saved"]
    rows: list[RenderableType] = [
        fact("store", str(found["store"])),
        fact("opened", str(found["how"])),
        fact("commits", f"{count(saved)} of {'an unknown number' if known is None else count(known)}"),
    ]
    for name, number in found["tables"].items():
        if number["saved"] or number["lost"] != 0:
            lost = "unknown" if number["lost"] is None else count(number["lost"])
            rows.append(fact("rows", f"{name}: {count(number['saved'])} saved, {lost} lost"))
    shape = Text("✓ nothing is known to be lost", style="green") if found["whole"] else Text(f"✗ lost: {found['lost']}")
    end = f"{found['from']} is as it was. What lies beside it (trainings, reviews, the log) was not copied."
    return Group(*rows, fact("lost", shape), Text(), end)
