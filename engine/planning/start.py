"""What a run would take, said before it is started: memory of this machine's devices, hours, dollars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.budget.gpus import CPU, kind_of
from engine.core.errors import ModelUnknown, SpecError
from engine.core.memory import total_and_free
from engine.core.nvidia import GpuLoad
from engine.planning.experiment import experiment_of
from engine.planning.fit import BYTES, serving, shape_named, shared_by, trainings
from engine.planning.priors import parameters_of
from engine.spec.stage import StageSpec
from engine.training.forecast import Shape
from store.names import TRAINING_PHASES

CPU_BYTES = 4  # of a weight, where a CPU computes with it
_FITTING = ("audit", "fits")
_LATER = (*TRAINING_PHASES, "evaluation", "repeats")  # parts that are asked for once the data are there

Row = dict[str, Any]


def before_start(
    name: str, spec: StageSpec, model: str, gpus: Sequence[GpuLoad], *, pilot: int, usd_per_hour: float | None = None,
    prices: Mapping[str, float] | None = None, fitted: bool = False,
) -> Row:  # fmt: skip
    """A run of a spec with a model on the GPUs that are here, else on the processor; bytes of one device.

    {model, device, gpus, memory, free, inference, training, pilot, target, reason}. `inference` has weights, fits and,
    on GPUs, what `fit.serving` says; it is None where the model's files are not on this machine, with which its
    training is not known, either. `pilot` and `target` are {examples, hours, usd, rate}: the first of the data alone,
    the second with training and evaluation; None where no rate is known, `reason` says why. Fits of the model's probes
    may come with the program (`fitted`): then an audit reads no labelled text.
    """
    kinds = {kind_of(one.name)[0] for one in gpus}
    kind = (kinds.pop() if len(kinds) == 1 else None) if gpus else CPU
    memory = min(int(one.total_mib) * 2**20 for one in gpus) if gpus else total_and_free()[0]
    free = min(int(one.total_mib - one.used_mib) * 2**20 for one in gpus) if gpus else total_and_free()[1]
    found: Row = {
        "model": model, "device": kind or gpus[0].name, "gpus": len(gpus), "memory": memory, "free": free,
        "inference": None, "training": [], "pilot": None, "target": None, "reason": None,
    }  # fmt: skip
    try:
        shape = shape_named(model)
        parameters = float(shape.parameters)
        found |= _memory(shape, spec, memory if gpus else free, len(gpus))
    except ModelUnknown as error:
        found["reason"] = error.title
        try:
            parameters = parameters_of(model)
        except SpecError as unknown:
            return found | {"reason": unknown.title}
    if kind is None:
        return found | {"reason": f"no rate of {found['device']} is known"}
    for part, target in (("pilot", pilot), ("target", spec.target)):
        planned = experiment_of(
            [(name, spec.model_copy(update={"target": target}))], model=model, parameters=parameters, kind=kind,
            usd_per_hour=usd_per_hour, prices=prices, seeds=1, ablations=0,
        )  # fmt: skip
        if planned["reason"] is not None:
            return found | {"reason": planned["reason"]}
        stage = _without(planned["stages"][0], _FITTING if fitted else ())
        stage = _data_of(stage) if part == "pilot" else stage
        hours = shared_by(stage, max(len(gpus), 1), planned["usd_per_hour"])
        found[part] = {"examples": target, "hours": hours["hours"], "usd": hours["usd"], "rate": stage["rate"]}
    return found


def _memory(shape: Shape, spec: StageSpec, memory: int, gpus: int) -> Row:
    """The run's own adapter is planned with, full weights where a processor computes."""
    if not gpus:
        weights = CPU_BYTES * shape.parameters
        inference: Row = {"weights": weights, "fits": weights <= memory}
    else:
        inference = serving(shape, memory, gpus).facts()
    kinds = () if spec.adapter is None else (spec.adapter.kind,)
    each = BYTES if gpus else CPU_BYTES
    return {"inference": inference, "training": list(trainings(shape, spec, memory, max(gpus, 1), kinds, each))}


def _data_of(stage: Row) -> Row:
    """A stage up to its gate: one start, and no training or evaluation."""
    once = [
        part | {"units": 1, "seconds": part["seconds"] / part["units"]} if part["part"] == "start" else part
        for part in stage["parts"]
    ]
    return _without(stage | {"parts": once}, _LATER)


def _without(stage: Row, names: Sequence[str]) -> Row:
    parts = [part for part in stage["parts"] if part["part"] not in names]
    return stage | {"parts": parts, "seconds": sum(part["seconds"] for part in parts)}
