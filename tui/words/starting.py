"""What a run would take, in a few lines: its model and the device, how it is trained, hours and dollars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core.figures import cents, count, hours
from tui.words.training import GIB

Row = Mapping[str, Any]


def start_lines(found: Row | None) -> list[tuple[str, str, bool]]:
    """Label, text, and whether it keeps the run from being started; `found` as `tui.reads.start` gives it."""
    if found is None:
        return [("model", "looked up in a moment", False)]
    if "model" not in found:
        return [("model", str(found["reason"]), True)]
    lines = [("model", f"{found['model']} on {_device(found)}: {_inference(found)}", not _fits(found))]
    if found["training"]:
        told = "; ".join(map(_training, found["training"]))
        lines.append(("training", told, not all(one["fits"] for one in found["training"])))
    lines.append(("takes", _takes(found), False))
    return lines


def _device(found: Row) -> str:
    if not found["gpus"]:
        return "the CPU"
    return str(found["device"]) if found["gpus"] == 1 else f"{found['gpus']} x {found['device']}"


def _fits(found: Row) -> bool:
    return found["inference"] is None or bool(found["inference"]["fits"])


def _inference(found: Row) -> str:
    one = found["inference"]
    if one is None:
        return "its memory is known once its files are here"
    weights, room = (f"{n_bytes / GIB:.1f}" for n_bytes in (one["weights"], one.get("room", found["free"])))
    if not found["gpus"]:
        return f"weights {weights} GiB, {room} GiB are free" + ("" if one["fits"] else ": it does not fit")
    if not one["fits"]:
        return f"weights {weights} of {room} GiB: {one['reason']}"
    engines = "1 engine" if one["replicas"] == 1 else f"{one['replicas']} engines"
    shared = "" if one["tensor"] == 1 else f", each on {one['tensor']} GPUs"
    return f"{engines}{shared}, weights {weights} of {room} GiB, cache {count(one['cached'])} tokens"


def _training(one: Row) -> str:
    name = str(one["method"]).upper()
    if not one["fits"]:
        return f"{name} does not fit, {one['total'] / GIB:.1f} GiB for one example"
    return f"{name} {one['micro_batch']} at once in {one['total'] / GIB:.1f} GiB"


def _takes(found: Row) -> str:
    if found["target"] is None:
        return f"not known: {found['reason']}"
    pilot, whole = found["pilot"], found["target"]
    told = [f"pilot of {count(pilot['examples'])}: {_cost(pilot)}"]
    if whole["examples"] != pilot["examples"]:
        told.append(f"{count(whole['examples'])}: {_cost(whole)}")
    elif found["training"]:
        told.append(f"trained: {_cost(whole)}")
    return f"{'; '.join(told)} (priors)"  # a store without a run has measured nothing


def _cost(one: Row) -> str:
    return hours(one["hours"]) + ("" if one["usd"] is None else f", {cents(one['usd'])}")
