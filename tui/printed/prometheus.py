"""A run's figures as Prometheus text (exposition format 0.0.4): names, units and ids, never a model's text.

Source: prometheus.io/docs/instrumenting/exposition_formats, and /docs/practices/naming for units and suffixes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from store.names import ALIVE
from tui.words.text import one_line

STALE_S = 180.0  # three times what a measurement of the GPUs stands for

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Exposed:
    """One metric with its samples: labels and a value each. Without a sample it is left out."""

    name: str
    kind: Literal["gauge", "counter"]
    about: str
    samples: Iterable[tuple[Labels, float | None]]


def exposition(status: Mapping[str, Any], scraped: Mapping[str, Any]) -> str:
    """The text of a run, from its status and what `tui.reads.scrape` reads; every sample has the label `run`."""
    run = {"run": str(status["run"])}
    lines: list[str] = []
    for metric in _metrics(status, scraped):
        samples = [(labels, value) for labels, value in metric.samples if value is not None]
        if not samples:
            continue
        lines += [f"# HELP cai_{metric.name} {metric.about}", f"# TYPE cai_{metric.name} {metric.kind}"]
        lines += [f"cai_{metric.name}{{{_labels({**run, **labels})}}} {_number(value)}" for labels, value in samples]
    return "".join(f"{line}\n" for line in lines)


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    """On one line without control characters; the format escapes a backslash, a quote and a line's end."""
    return one_line(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _metrics(status: Mapping[str, Any], scraped: Mapping[str, Any]) -> Iterator[Exposed]:
    none: Labels = {}
    about = {name: str(status[name]) for name in ("spec", "model", "state")}
    yield Exposed("run_info", "gauge", "The run with its spec, model and state; always 1.", [(about, 1)])
    at_work = [status["state"], *(row["state"] for row in status.get("trainings") or ())]
    active = int(any(state in ALIVE for state in at_work))
    yield Exposed(
        "run_active", "gauge", "1 while its data are made or it is trained, pauses included.", [(none, active)]
    )
    at = scraped["last_event"]
    when = None if at is None else at.timestamp()
    yield Exposed("last_event_timestamp_seconds", "gauge", "When something was told of the run last.", [(none, when)])
    accepted = (status.get("counts") or {}).get("accepted")
    yield Exposed("accepted_examples", "gauge", "Accepted pairs of instruction and response.", [(none, accepted)])
    yield Exposed("target_examples", "gauge", "Accepted pairs that are wanted.", [(none, status["target"])])
    for name, told in (("done", "Items that a phase has done."), ("planned", "Items that a phase has been given.")):
        rows = [({"phase": row["name"]}, row[name]) for row in status["phases"]]
        yield Exposed(f"phase_{name}_items", "gauge", told, rows)
    spent = [({"phase": phase}, seconds) for phase, seconds in scraped["phase_seconds"].items()]
    yield Exposed("phase_seconds_total", "counter", "Time in stretches of a phase that have ended.", spent)
    calls = (
        ("completions", "completions_total", "Completions that the model computed for the run."),
        ("tokens", "completion_tokens_total", "Tokens of these completions."),
        ("scores", "scores_total", "Label scores that the model computed for the run."),
    )
    for key, name, told in calls:
        yield Exposed(name, "counter", told, [(none, scraped[key])])
    gates = [({"gate": row["name"], "result": row["result"]}, 1) for row in status["gates"]]
    yield Exposed("gate_result", "gauge", "A gate with its result (passed, failed, not tested); always 1.", gates)
    yield Exposed("reviews_waiting", "gauge", "Decisions that nobody has made yet.", [(none, scraped["waiting"])])
    money = (
        ("spent_usd", "spent_dollars", "US dollars that the ledger has settled for the run."),
        ("reserved_usd", "reserved_dollars", "US dollars that it has reserved and not settled."),
        ("cap_usd", "budget_dollars", "US dollars that all runs of the store may cost together."),
    )
    for key, name, told in money:
        yield Exposed(name, "gauge", told, [(none, scraped[key])])
    yield from _trainings(status.get("trainings") or ())
    if status.get("gpus"):
        yield from _gpus(status["gpus"])


def _trainings(trainings: Iterable[Mapping[str, Any]]) -> Iterator[Exposed]:
    known = [({"training": row["training"], "method": row["method"]}, row) for row in trainings]
    for key, name, told in (
        ("steps", "training_steps", "Steps of the optimiser that a training has taken."),
        ("planned_steps", "training_planned_steps", "Steps that it will have taken."),
        ("last_loss", "training_loss", "Its last loss in nats a token."),
        ("heldout_after", "training_heldout_loss", "Its last held-out loss."),
    ):
        yield Exposed(name, "gauge", told, [(labels, row[key]) for labels, row in known])


def _gpus(gpus: Mapping[str, Any]) -> Iterator[Exposed]:
    """Sums over the run; what the last minute was like, unless it is long ago. Phases side by side are one, with +."""
    for key, name, told in (
        ("measured_s", "gpu_measured_seconds_total", "Time in which the GPUs were measured."),
        ("idle_s", "gpu_idle_seconds_total", "That time, times the mean share of it in which nothing ran on them."),
    ):
        yield Exposed(name, "counter", told, [({"phase": row["phase"]}, row[key]) for row in gpus["phases"]])
    last, none = gpus["last"], dict[str, str]()
    at = datetime.fromisoformat(last["at"]).timestamp()
    if time.time() - at > STALE_S:
        return
    for key, name, told, unit in (
        ("busy_percent", "gpu_busy_ratio", "Share of the last minute in which something ran, mean over GPUs.", 0.01),
        ("least_busy_percent", "gpu_least_busy_ratio", "The same of the GPU that was least busy.", 0.01),
        ("memory_gib", "gpu_memory_bytes", "Memory in use on all GPUs, mean over the last minute.", 2**30),
        ("power_w", "gpu_power_watts", "Power of all GPUs, mean over the last minute.", 1.0),
    ):
        yield Exposed(name, "gauge", told, [(none, last[key] * unit)])
    yield Exposed("gpu_measured_timestamp_seconds", "gauge", "The end of that minute.", [(none, at)])
