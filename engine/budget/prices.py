"""What a second, a token and a gibibyte cost, each with the date or the place that its price is from.

The shipped figures for models of OpenAI were copied by hand and are marked as not checked: a person compares them with
the provider's page, or gives prices of their own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from engine.core.errors import SpecError
from engine.core.figures import NO_GPU_PRICE, NO_PRICE

GPU, API, STORAGE = "gpu", "api", "storage"
KINDS = (GPU, API, STORAGE)
GPU_SECOND, INPUT_TOKEN, OUTPUT_TOKEN, GIB_HOUR = "gpu_second", "input_token", "output_token", "gib_hour"
NO_PRICE_KNOWN = "no price known"
HOURS_A_MONTH = 730  # 365 days of 24 hours over 12 months, as providers of storage count

_SNAPSHOT = re.compile(r"-20\d\d-\d\d-\d\d$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars of one unit of something; `priced_on` is the date of the price or the place it is from."""

    unit: str
    usd: float
    priced_on: str
    detail: str  # the device, the model, the volume

    def micro_usd(self, quantity: float) -> int:
        """Millionths of a dollar for so many units, rounded up, so that no row is below what it stands for."""
        return math.ceil(quantity * self.usd * 1e6 - 1e-6)  # the product of two exact figures may be a bit too large


@dataclass(frozen=True, slots=True)
class Prices:
    """What one purchase costs, a price for each unit it is counted in; `warning` where one of them is not known."""

    kind: str
    each: tuple[Price, ...]
    warning: str = ""


def gpu_price(usd_per_hour: float | None, device: str, priced_on: str = "configuration", *, devices: int = 1) -> Prices:
    """A second of devices at dollars an hour for each; None is counted at 0 and warned of. Raises SpecError."""
    device = device if devices == 1 else f"{devices} × {device}"
    if usd_per_hour is None:
        warning = f"{NO_GPU_PRICE}: seconds of the device are counted, at 0 dollars"
        return Prices(GPU, (Price(GPU_SECOND, 0.0, NO_PRICE_KNOWN, device),), warning)
    return Prices(GPU, (Price(GPU_SECOND, _sound(usd_per_hour, "a GPU hour") * devices / 3600, priced_on, device),))


def storage_price(usd_per_gib_month: float | None, place: str, priced_on: str = "configuration") -> Prices:
    """GiB-hours of a volume at dollars a GiB-month of 730 hours; None is counted at 0 and warned of."""
    if usd_per_gib_month is None:
        warning = f"{NO_PRICE} (price_per_gib_month): GiB-hours of storage are counted, at 0 dollars"
        return Prices(STORAGE, (Price(GIB_HOUR, 0.0, NO_PRICE_KNOWN, place),), warning)
    usd = _sound(usd_per_gib_month, "a GiB-month") / HOURS_A_MONTH
    return Prices(STORAGE, (Price(GIB_HOUR, usd, priced_on, place),))


def api_price(
    model: str,
    usd_per_million: tuple[float, float] | None = None,
    *,
    priced_on: str = "given",
    table: Mapping[str, Mapping[str, Any]] | None = None,
) -> Prices:
    """Input and output tokens of a model: the price given, else the table's, else 0 with a warning; never a guess.

    `usd_per_million` is (input, output). A dated name is looked up without its date, too. Raises SpecError.
    """
    warning = ""
    if usd_per_million is None:
        known = api_prices() if table is None else table
        row = known.get(model) or known.get(_SNAPSHOT.sub("", model))
        if row is None:
            warning = f"no price of the model {model} is known: its tokens are counted, at 0 dollars; give its price"
            usd_per_million, priced_on = (0.0, 0.0), NO_PRICE_KNOWN
        else:
            usd_per_million = (row["input_usd_per_million"], row["output_usd_per_million"])
            priced_on = str(row["as_of"])
            if not row.get("checked", True):
                priced_on += ", not checked"
                warning = f"the price of {model} is of {row['as_of']} and was not checked: compare it with its provider"
    per_token = [_sound(usd, f"a million tokens of {model}") / 1e6 for usd in usd_per_million]
    units = (INPUT_TOKEN, OUTPUT_TOKEN)
    each = tuple(Price(unit, usd, priced_on, model) for unit, usd in zip(units, per_token, strict=True))
    return Prices(API, each, warning)


def api_prices(own: Path | None = None) -> dict[str, dict[str, Any]]:
    """The shipped table, {model: {input_usd_per_million, output_usd_per_million, as_of}}, under a person's `own` file.

    Raises SpecError where that file can't be read or lacks a field.
    """
    text = resources.files("engine").joinpath("data/api_prices.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    if own is None:
        return found
    try:
        given = json.loads(own.read_text(encoding="utf-8"))
        for model, row in given.items():
            found[model] = {"as_of": str(row["as_of"])} | {
                name: _sound(row[name], f"a million tokens of {model}")
                for name in ("input_usd_per_million", "output_usd_per_million")
            }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"the prices in {own} cannot be read: {type(error).__name__} {error}",
            'Wanted: {"model": {"input_usd_per_million": 1.25, "output_usd_per_million": 10.0, "as_of": "2026-03"}}.',
        ) from error
    return found


def _sound(usd: float, what: str) -> float:
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd) or usd < 0:
        raise SpecError(f"the price of {what} must be a number of dollars from 0 on, not {usd!r}", "Nothing was spent.")
    return float(usd)
