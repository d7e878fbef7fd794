"""What the command line shows of `cai fit`: memory by part, how engines lie on the GPUs, hours and dollars by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.core.figures import count, dollars, hours
from tui.printed.tables import fact, plain_table
from tui.words.text import make_visible, one_line
from tui.words.training import GIB, MEMORY_PARTS

Row = Mapping[str, Any]

_PARTS = ("weights", "adapter", "optim.", "activ.", "logits")  # MEMORY_PARTS in a narrow column
_NONE = Text("none", style="bold red")
_KINDS = {"lora": "LoRA", "qlora": "QLoRA"}


def fit_report(found: Row) -> Group:
    """A model on GPUs as `engine.planning.fit.fit_of` gives it."""
    price = "" if found["usd_per_hour"] is None else f"${found['usd_per_hour']:g} an hour each, "
    return Group(
        fact("model", f"{one_line(str(found['model']))}, {found['parameters'] / 1e9:,.3g} billion weights"),
        fact("device", f"{found['gpus']} x {found['gpu']} of {_gib(found['memory'])} GiB"),
        fact("price", f"{price}{found['priced_on']}"),
        Text(),
        *_inference(found["inference"]),
        Text(),
        *_training(found),
        Text(),
        *_stages(found),
    )


def _gib(n_bytes: float) -> str:
    return f"{n_bytes / GIB:.1f}"


def _inference(one: Row) -> list[RenderableType]:
    table = plain_table("inference, on each GPU", "GiB>")
    for name, told in (("weights", "weights"), ("working", "working memory"), ("cache", "keys and values")):
        table.add_row(told, _gib(one[name]))
    table.add_row("what vLLM takes of it", _gib(one["room"]))
    engines = "1 engine" if one["replicas"] == 1 else f"{count(one['replicas'])} engines side by side (replicas)"
    on = "on one GPU" if one["tensor"] == 1 else f"on {count(one['tensor'])} GPUs (tensor parallel)"
    told = f"  {engines}, each {on}: {one['reason']}; a cache of {count(one['cached'])} tokens each."
    return [table, Text(told, style="" if one["fits"] else "bold red")]


def _training(found: Row) -> list[RenderableType]:
    table = plain_table("training", *(f"{name}>" for name in _PARTS), "in all>", "at once>")
    for one in found["training"]:
        name = f"{one['method'].upper()}, {_KINDS[one['kind']]}" + (f" /{one['shards']}" if one["shards"] > 1 else "")
        total = Text(_gib(one["total"]), style="" if one["fits"] else "bold red")
        at_once = Text(count(one["micro_batch"]) + "*" * one["gradient_checkpointing"])
        table.add_row(name, *(_gib(one[part]) for part in MEMORY_PARTS), total, at_once if one["fits"] else _NONE)
    longest = max((one["longest"] for one in found["training"]), default=0)
    on = min((one["processes"] for one in found["training"]), default=1)
    told = f"  GiB of one GPU of {on}, with examples of {count(longest)} tokens. At once: the largest micro-batch. "
    told += (
        "*: with activations computed again (checkpointing). /N: N GPUs share the weights; else each has all of them."
    )
    return [table, Text(told, style="dim")]


def _stages(found: Row) -> list[RenderableType]:
    if found["reason"] is not None:
        return [Text(make_visible(f"  hours and dollars are not known: {found['reason']}", limit=400), style="yellow")]
    table = plain_table(
        "stage>", "examples>", "requests>", "data>", "one GPU>", f"{found['gpus']} of them>", "cost>", "rates"
    )
    for row in found["stages"]:
        table.add_row(
            str(row["stage"]), count(row["target"]), count(round(row["requests"])), hours(row["data_hours"]),
            hours(row["device_seconds"] / 3600), hours(row["hours"]), dollars(row["usd"]), row["rate"],
        )  # fmt: skip
    total, other = found["total"], found["total"]["without_probe"]
    table.add_row(
        "all", "", count(round(total["requests"])), hours(total["data_hours"]), hours(total["device_seconds"] / 3600),
        hours(total["hours"]), dollars(total["usd"]), "",
    )  # fmt: skip
    told = (
        f"  Data: until the examples are accepted, on {found['gpus']} of them. Where no probe passes its audit, grade "
        f"is asked, too: {hours(other['data_hours'])} of data, {hours(other['hours'])} in all. {found['about']}. Rates "
        "that were not measured are priors: `cai plan` lists them with their sources."
    )
    return [table, Text(make_visible(told, limit=600), style="dim")]
