"""Whether a model fits GPUs of a kind, and how: memory by part, engines side by side or shared, hours and dollars.

No weights are needed: a configuration says all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.budget.gpus import KINDS
from engine.core.data import DATA
from engine.core.errors import ModelUnknown
from engine.models.files.source import local_folder, resolve
from engine.models.placement import USED, WORKING_BYTES, Footprint
from engine.planning.experiment import PIPELINE, experiment_of, pipeline_of
from engine.planning.work import JUDGED
from engine.spec.sections import SftSpec
from engine.spec.stage import StageSpec
from engine.training import forecast
from engine.training.forecast import Shape
from engine.training.plan import LARGEST_MICRO_BATCH
from store.names import PHASES, STAND_INS
from store.read import Reader

SHIPPED = {"qwen2.5-32b": "qwen2.5-32b.json"}  # configurations in engine/data, by a model's name
BYTES = 2  # of a weight, a key or a value
OF_DATA = frozenset({*PHASES, "candidate_judgements"})  # parts that make a stage's data
ALTERNATIVE = ("requests", "data_hours", "hours", "usd")  # what is told of a stage that is judged otherwise, too

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Engines:
    """Engines for inference. Bytes are of one GPU: `room` is what vLLM takes of it, the cache is what is left of that.

    `cached` is the number of tokens in one engine's cache.
    """

    replicas: int
    tensor: int
    weights: int
    working: int
    cache: int
    cached: int
    room: int
    fits: bool
    reason: str

    def facts(self) -> Row:
        """Ready for JSON."""
        return asdict(self)


def shape_named(model: str) -> Shape:
    """The shape of a folder, an embedded model, one that the hub's cache has, or Qwen2.5-32B by name.

    Raises ModelUnknown where no configuration is here.
    """
    shipped = SHIPPED.get(model.rsplit("/", 1)[-1].lower())
    if shipped is not None and not Path(model).is_dir():
        return forecast.shape_by_config(DATA / shipped)
    folder = local_folder(resolve(model))
    if folder is None or not (folder / "config.json").is_file():
        raise ModelUnknown(
            f"no configuration of {model!r} is on this machine",
            f"Name a folder with its config.json (no weights are needed), or {', '.join(SHIPPED)}. "
            "Nothing was downloaded.",
        )
    try:
        return forecast.shape_of(folder)
    except (KeyError, ValueError) as error:
        raise ModelUnknown(
            f"config.json in {folder} does not say the model's sizes: {error}",
            "The forecast knows decoders of the family of Llama, Qwen 2 and Gemma. Nothing was started.",
        ) from error


def serving(shape: Shape, memory: int, gpus: int) -> Engines:
    """Engines side by side where one GPU of `memory` bytes holds the model, else the fewest GPUs that can share it.

    Weights and keys are of 16 bits, the output matrix of 32 beside its own, as vLLM is told here. Key-value heads are
    divided or, where there are fewer than GPUs, repeated.
    """
    width = shape.queries // shape.heads
    shared = shape.keys // width
    weights = BYTES * shape.parameters + 4 * shape.vocabulary * shape.hidden
    room = int(USED * memory)
    model = Footprint(weights, 2 * BYTES * shape.layers * shape.keys, shape.heads, shared, shape.intermediate)
    found: Engines | None = None
    for share in filter(model.divides, range(1, gpus + 1)):
        token = model.token // min(share, shared)
        left = room - weights // share - WORKING_BYTES
        fits = model.on_each(share) <= room
        replicas = gpus // share
        reason = "one GPU holds it" if share == 1 else f"{share} GPUs are the fewest that hold it"
        if not fits:
            reason = f"{share} GPUs do not hold it" if share > 1 else "one GPU does not hold it"
        elif gpus % share:
            reason += f"; {gpus % share} of {gpus} are left over"
        cached = max(left, 0) // token
        found = Engines(replicas, share, weights // share, WORKING_BYTES, max(left, 0), cached, room, fits, reason)
        if fits:
            break
    assert found is not None  # one GPU divides every model
    return found


def fit_of(
    shape: Shape, model: str, kind: str, gpus: int = 1, *, usd_per_hour: float | None = None,
    prices: Mapping[str, float] | None = None, reader: Reader | None = None,
) -> Row:  # fmt: skip
    """A model on `gpus` GPUs of a kind, as one JSON-ready object; bytes of one GPU, seconds, US dollars.

    {model, parameters, gpus, gpu, memory, inference, training, stages, total, usd_per_hour, priced_on, priors, reason,
    about}. `training` has SFT and preferences, each with LoRA and QLoRA, by the settings of the last shipped stage, on
    as many of the GPUs as the effective batch can be shared by.
    `stages` are the shipped ones: requests, the device's seconds, hours on all GPUs together until the data are there
    and in all, the price, and the same where no probe passes its audit.
    """
    memory = KINDS[kind].memory_mib * 2**20
    stages = pipeline_of(PIPELINE)
    judged_else = [(name, without_probe(spec)) for name, spec in stages]
    planned, instead = (
        experiment_of(
            some, model=model, parameters=float(shape.parameters), kind=kind, usd_per_hour=usd_per_hour, prices=prices,
            seeds=1, ablations=0, reader=reader,
        )
        for some in (stages, judged_else)
    )  # fmt: skip
    price = planned["usd_per_hour"]
    told, otherwise = ([shared_by(stage, gpus, price) for stage in one["stages"]] for one in (planned, instead))
    for row, other in zip(told, otherwise, strict=True):
        row["without_probe"] = {name: other[name] for name in ALTERNATIVE}
    sums: Row = {name: _together(told, name) for name in ("requests", "device_seconds", "data_hours", "hours", "usd")}
    sums["without_probe"] = {name: _together(otherwise, name) for name in ALTERNATIVE}
    return {
        "model": model, "parameters": shape.parameters, "gpus": gpus, "gpu": kind, "memory": memory,
        "inference": serving(shape, memory, gpus).facts(),
        "training": list(trainings(shape, stages[-1][1], memory, gpus)),
        "stages": told,
        "total": sums,
        "usd_per_hour": price, "priced_on": planned["priced_on"], "priors": planned["priors"],
        "reason": planned["reason"],
        "about": "Work is shared evenly by all GPUs, each start of a process is counted whole; data, training and "
                 "evaluation of every stage, without controls, further seeds and ablations",
    }  # fmt: skip


def without_probe(spec: StageSpec) -> StageSpec:
    """The spec as it is judged where no probe passes its audit: the last stand-in is asked beside it."""
    last = STAND_INS["probe"][-1]
    named = {kind: getattr(spec.critics, kind) for kind in JUDGED}
    asked = {kind: [*names, last] for kind, names in named.items() if "probe" in names and last not in names}
    return spec.model_copy(update={"critics": spec.critics.model_copy(update=asked)})


def _together(rows: Sequence[Row], name: str) -> float | None:
    """The sum over stages, None where there are none or one is not known."""
    known = [row[name] for row in rows]
    return float(sum(known)) if known and None not in known else None


def shared_by(stage: Row, gpus: int, price: float | None) -> Row:
    """A stage of `engine.planning.experiment` on several GPUs, in hours and US dollars.

    All wait for what starts a process and for fits, the rest is shared. Its data are there when the first process,
    which judges and writes, is done.
    """
    parts = stage["parts"]
    start = next(part for part in parts if part["part"] == "start")
    fits = sum(part["seconds"] for part in parts if part["part"] == "fits")
    data = sum(part["seconds"] for part in parts if part["part"] in OF_DATA)
    waited = start["seconds"] + fits
    hours = (waited + (stage["seconds"] - waited) / gpus) / 3600
    return {
        "stage": stage["stage"], "spec": stage["spec"], "target": stage["target"],
        "requests": sum(part["requests"] for part in parts), "device_seconds": stage["seconds"],
        "data_hours": (start["seconds"] / start["units"] + fits + data / gpus) / 3600,
        "hours": hours, "usd": None if price is None else hours * gpus * price, "rate": stage["rate"],
        "parts": [{name: part[name] for name in ("part", "units", "unit", "requests", "seconds", "rate")}
                  for part in parts],
    }  # fmt: skip


def trainings(
    shape: Shape, spec: StageSpec, memory: int, gpus: int, kinds: Sequence[str] = ("lora", "qlora"), each: int = BYTES
) -> Iterator[Row]:
    """SFT and preferences with each kind of adapter: the largest micro-batch, all weights on each GPU or shared by all.

    `memory` is of one GPU, `each` that of a weight, in bytes.
    """
    for kind in kinds:
        for section in (spec.sft, spec.dpo):
            if section is None or spec.adapter is None:
                continue
            adapter = spec.adapter.model_dump() | {"kind": kind}
            method = "sft" if isinstance(section, SftSpec) else section.loss
            processes = max(n for n in range(1, gpus + 1) if section.effective_batch % n == 0)
            alone, shared = (
                forecast.fit(
                    shape, adapter, method, longest=section.max_length, at_most=LARGEST_MICRO_BATCH,
                    effective_batch=section.effective_batch // processes, bytes_per_weight=each, device=memory,
                    shards=shards,
                )
                for shards in (1, processes)
            )  # fmt: skip
            one, shards = (alone, 1) if alone.fits else (shared, processes)
            yield {"method": method, "kind": kind, "longest": section.max_length, "processes": processes,
                   "shards": shards, **one.facts()}  # fmt: skip
