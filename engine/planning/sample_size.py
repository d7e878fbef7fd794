"""How many templates and items a claim needs, and what those that are planned can show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.items import ItemSet, item_set
from engine.evaluation.registration import TEST, design_over, forecast, sizes_of
from engine.spec.stage import StageSpec
from store.errors import CaiError

Row = dict[str, Any]


def sample_size(
    spec: StageSpec, alike: Mapping[str, Any] | None = None, frozen: Callable[[], ItemSet] = item_set
) -> Row:
    """The templates and items that the wanted power needs, and what the planned ones can show, in all and of one type.

    `alike` is what engine.evaluation.inference.likeness found of how alike items of a template are; without it the
    spec's prior. `frozen` gives the items, of a run its own; without it the newest.
    """
    settings = spec.evaluation
    if settings is None:
        return {"planned": [], "reason": "the spec has no section `evaluation`"}
    alike = alike or {"icc": settings.expected_icc, "prior": settings.expected_icc, "pilot": None}
    found: Row = {
        "gain": settings.expected_gain, "loss": settings.expected_loss, "alpha": settings.alpha,
        "power": settings.power,
        "test": TEST, "likeness": alike, "enough": ENOUGH_CLUSTERS, "planned": [], "reason": None,
    }  # fmt: skip
    try:
        items = frozen().of(settings.capability, "test", settings.items_per_type)
    except CaiError as error:
        return found | {"reason": error.title}
    types = sizes_of(items).get(settings.capability, {})
    smallest = min(types, key=lambda name: len(types[name]), default="")
    for name, of in (("all", types), ("one type", {smallest: types.get(smallest, [])})):
        if sum(map(len, of.values())) > 1:
            tested = sum(map(len, of.values())) >= ENOUGH_CLUSTERS
            found["planned"].append({"of": name, "tested": tested, **forecast(settings, design_over(of), alike["icc"])})
    found["reason"] = next((one["reason"] for one in found["planned"] if "reason" in one), None)
    return found
