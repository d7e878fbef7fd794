"""Kinds of GPU that can be rented: what their data sheets say, and what an hour of each costs where a person sets none.

It imports nothing heavy, because the settings are read with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

CPU = "CPU"  # the machine that docs/BENCHMARKS.md was measured on; nothing is asked for it
PRICED_ON = "2026-03"
# US dollars an hour, on demand, written down by hand: a person compares them with the provider's page.
DEFAULT_PRICES = "H200 3.79, H100 2.99, A100 1.89, B200 5.99, L40S 0.99, RTX4090 0.59"
NOT_CHECKED = f"of {PRICED_ON}, not checked: compare with your provider, and set gpu_prices"

_DEVICES = re.compile(r"(\d+) x ")


@dataclass(frozen=True, slots=True)
class GpuKind:
    """Memory in GB, dense bfloat16 in TFLOP/s and memory bandwidth in TB/s, as the maker's data sheet has them.

    `memory_mib` is what nvidia-smi says that the device has in all.
    """

    memory_gb: float
    tflops: float
    tb_per_s: float
    memory_mib: int


KINDS = {
    "H200": GpuKind(141, 989, 4.8, 143_771),
    "H100": GpuKind(80, 989, 3.35, 81_559),
    "A100": GpuKind(80, 312, 2.04, 81_920),
    "B200": GpuKind(180, 2250, 8.0, 183_359),
    "L40S": GpuKind(48, 362, 0.864, 46_068),
    "RTX4090": GpuKind(24, 165, 1.008, 24_564),
}

# A GH200 is no H200 and an RTX A1000 no A100; an RTX 4090 D or one of a laptop computes less.
_NAMES = {
    kind: re.compile(rf"(?<![A-Z0-9]){kind.replace('RTX', 'RTX ?')}(?![A-Z0-9]| D\b| Laptop)", re.IGNORECASE)
    for kind in KINDS
}


def kind_named(text: str) -> str | None:
    """The kind that a person means by H100, h100 or h100-80; None where there is none of that name and memory."""
    name, _, memory = text.upper().partition("-")
    return name if name in KINDS and memory in ("", f"{KINDS[name].memory_gb:g}") else None


def prices_of(text: str) -> dict[str, float]:
    """Dollars an hour by kind, from "H200 3.79, H100 2.99". Raises ValueError, whose text says what is wanted."""
    found: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, given = part.partition(" ")
        try:
            usd = float(given)
        except ValueError:
            usd = math.nan
        if name not in KINDS or not 0 < usd <= 10_000:
            raise ValueError(f"dollars an hour by kind, such as H200 3.79, H100 2.99; kinds are {', '.join(KINDS)}")
        found[name] = usd
    return found


def price_source(kind: str, prices: Mapping[str, float]) -> str:
    """Where the price of a kind is from: the shipped figure with its date, or the settings."""
    return NOT_CHECKED if prices.get(kind) == prices_of(DEFAULT_PRICES).get(kind) else "setting gpu_prices"


def kind_of(device: str) -> tuple[str | None, int]:
    """Which kind a device is that a backend named, and how many: "2 x NVIDIA H200" is (H200, 2). None where unknown."""
    several = _DEVICES.match(device)
    if device.lower().startswith("cpu"):
        return CPU, 1
    found = (kind for kind, name in _NAMES.items() if name.search(device))
    return next(found, None), int(several[1]) if several else 1
