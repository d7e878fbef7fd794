"""Ten minutes on a bare GPU machine: `python bench/gpu_contact.py [--only PART ...] [--small]`.

What has only been shown on a CPU, tried where it is meant to run, without a network: the weights are random ones of
Qwen2.5-32B's full width and two (or four) layers, made there by seed with a tokenizer for them. Training goes through
the program's own process. Each part is a process of its own with a time limit, and none needs another: one that fails,
or is not possible there, says why, and the others go on. Prints one JSON line a part, and one table last. `--small`
takes a tiny model, to try the parts themselves where there is no GPU; memory is not measured then.

weights       how long it takes to make them
sft dpo qlora peak memory of a whole training and of one layer of it (four layers less two) against the forecast
unsloth       the same training where Unsloth loads it
used_up       the memory is used up in the third step: training goes on from the second with activations computed again
margins       critics' margins of the transformers backend in 16 bits against 32
closed        what is left of the GPU's memory once a model was closed
states        hidden states by vLLM of texts whose last chunk is one token, against those of transformers
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import apart, machine, versions
from bench.gpus.dummy import with_weights
from bench.gpus.states import by_vllm
from bench.gpus.workload import STAGES, sample
from engine.core.control import Control
from engine.core.data import read_data
from engine.models import adapters
from engine.models.files.source import resolve
from engine.planning.fit import without_probe
from engine.spec.stage import load_spec
from engine.training import forecast
from engine.training.job import Job, write_examples
from engine.training.worker import Worker, command_for, follow

LIMITS = {
    "weights": 90,
    "sft": 90,
    "dpo": 90,
    "qlora": 100,
    "unsloth": 100,
    "used_up": 110,
    "margins": 90,
    "closed": 60,
    "states": 150,
}
MINUTES = 9.5  # for all of them
STEPS = 3
# Stated before any of it was run on a GPU; docs/BENCHMARKS.md says the same.
MEMORY_WITHIN = 0.15  # of the forecast
MARGIN_MEAN, MARGIN_MOST = 0.03, 0.15  # nats
LEFT_MIB = 64
MIB, GIB = 2**20, 2**30

Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """A model's shape, and what it is trained on: tokens of an example, examples at once."""

    layers: tuple[int, int]
    longest: int
    micro_batch: int
    scored: int
    changed: Mapping[str, Any] = field(default_factory=dict)


FULL = Size((2, 4), 1024, 4, 288)
TINY = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
SMALL = Size((1, 2), 64, 2, 18, {**TINY, "vocab_size": 1024})


@dataclass(frozen=True)
class Contact:
    """Where the parts leave their files, and how large everything is."""

    place: Path
    size: Size

    def model(self, layers: int) -> Path:
        """A model of so many layers, made at the first call."""
        found = self.place / f"model-{layers}"
        if not (found / "whole").is_file():
            with_weights(found, num_hidden_layers=layers, **self.size.changed)
            (found / "whole").touch()
        return found


class NotPossible(Exception):
    """Why a part can't be tried here."""


def weights(here: Contact) -> Row:
    """Both models."""
    sizes = [sum(file.stat().st_size for file in here.model(n).glob("*.safetensors")) for n in here.size.layers]
    return {"gib": [round(size / GIB, 2) for size in sizes], "said": "made by seed"}


def sft(here: Contact) -> Row:
    """LoRA on weights in 16 bits."""
    return _against_forecast(here, "sft", "lora")


def dpo(here: Contact) -> Row:
    """The same on pairs, from the adapter that the part `sft` left, where it did."""
    return _against_forecast(here, "dpo", "lora")


def qlora(here: Contact) -> Row:
    """LoRA on weights in four bits."""
    return _against_forecast(here, "sft", "qlora")


def unsloth(here: Contact) -> Row:
    """LoRA where Unsloth loads the model."""
    found = _trained(here, "sft", "lora", here.size.layers[0], loader="auto")
    if found["loader"] != "unsloth":
        raise NotPossible("; ".join(found["notes"]) or f"the loader was {found['loader']}")
    share = found["peak"] / found["forecast"]
    said = f"{found['seconds_per_step']:.2f} s a step, {found['peak'] / GIB:.2f} GiB: {share:.2f} of the forecast"
    return {**found, "ok": share <= 1 + MEMORY_WITHIN, "said": said}  # its kernels keep less


def used_up(here: Contact) -> Row:
    """A run of the program in which the third step finds no memory."""
    from tests.engine.training.training_run import losses, notes, patched, settings, train, trainable_store

    store = trainable_store(here.place / "used_up.duckdb", here.model(here.size.layers[0]), settings())
    command = patched(here.place, "from bench.gpu_contact import use_up\nuse_up()")
    opened = train(store, "sft", command=command, adapter__loader="plain", sft__epochs="1.0")
    began = [event.payload()["done_steps"] for event in opened.seen if event.kind == "TrainingStarted"]
    outcome, told, steps = opened.outcome, notes(opened), [step for step, *_ in losses(opened)]
    opened.close()
    whole = outcome is not None and outcome.state == "done" and steps == list(range(1, len(steps) + 1))
    right = whole and began == [0, 2] and "activations computed again" in told
    said = f"began at steps {began}, {len(steps)} steps, {outcome.state if outcome else 'no end'}"
    return {"began": began, "steps": len(steps), "ok": right, "said": said if right else f"{said}: {told[-300:]}"}


def use_up() -> None:
    """Leave no memory to the third step of a training, unless activations are computed again."""
    import torch
    import transformers

    before = transformers.Trainer.training_step

    def hungry(self: Any, *given: Any, **more: Any) -> Any:
        held = None
        if self.state.global_step >= 2 and not self.args.gradient_checkpointing:
            if not torch.cuda.is_available():
                raise torch.OutOfMemoryError("out of memory, as it is told on a GPU")
            torch.cuda.empty_cache()
            held = torch.empty(torch.cuda.mem_get_info()[0] - 64 * MIB, dtype=torch.uint8, device="cuda")
        found = before(self, *given, **more)
        del held
        return found

    transformers.Trainer.training_step = hungry


def margins(here: Contact) -> Row:
    """The label critics' margins of stage 1 as the backend loads a model here, and in the other data type."""
    import torch

    from engine.models.local.backend import TransformersModel

    folder = here.model(here.size.layers[0])
    requests = sample(without_probe(load_spec(STAGES[0]).settings), "labels", here.size.scored)
    found = {}
    for dtype in (None, torch.float32 if torch.cuda.is_available() else torch.bfloat16):
        model = TransformersModel.load(resolve(str(folder))) if dtype is None else _in(folder, dtype)
        scores = {one.request: one.logprobs for one in model.score(requests)}
        found[model.facts["dtype"]] = [scores[one][0] - scores[one][1] for one in requests]
        facts = model.facts
        model.close()
    away = [abs(a - b) for a, b in zip(*found.values(), strict=True)]
    mean, most = statistics.fmean(away), max(away)
    return {
        "n": len(requests), "mean_nats": mean, "largest_nats": most, "device": facts["device"],
        "ok": mean <= MARGIN_MEAN and most <= MARGIN_MOST,
        "said": f"{' and '.join(found)} differ by {mean:.4f} nats, {most:.4f} at most, n = {len(requests)}",
    }  # fmt: skip


def _in(folder: Path, dtype: Any) -> Any:
    """The backend with weights in a data type of one's choice."""
    import torch

    from engine.models.files.loading import causal_lm
    from engine.models.files.tokenizer import Text, end_ids
    from engine.models.files.weights import fingerprint_of
    from engine.models.local.backend import CPU_BATCH, TransformersModel

    text = Text.of(str(folder))
    model = causal_lm(str(folder), dtype=dtype).eval().to("cuda" if torch.cuda.is_available() else "cpu")
    named = fingerprint_of(str(folder), str(dtype))
    return TransformersModel(resolve(str(folder)), model, text, end_ids(str(folder), text.tokenizer), named, CPU_BATCH)


def closed(here: Contact) -> Row:
    """A model loaded, asked and closed; what torch still holds of the GPU then."""
    import torch

    from engine.models.local.backend import TransformersModel

    model = TransformersModel.load(resolve(str(here.model(here.size.layers[0]))))
    for _ in model.score(sample(without_probe(load_spec(STAGES[0]).settings), "labels", here.size.scored)):
        pass
    if not torch.cuda.is_available():
        raise NotPossible("no GPU, whose memory it is about")
    held = torch.cuda.memory_reserved()
    model.close()
    gc.collect()
    left = torch.cuda.memory_reserved()
    said = f"{held / MIB:,.0f} MiB held, {left / MIB:,.0f} left"
    return {"held": held, "left": left, "ok": left <= LEFT_MIB * MIB, "said": said}


def states(here: Contact) -> Row:
    """Hidden states of the same texts by vLLM and by transformers."""
    if importlib.util.find_spec("vllm") is None:
        raise NotPossible("vLLM is not installed")
    return by_vllm(here.model(here.size.layers[1]))


def _against_forecast(here: Contact, method: str, kind: str) -> Row:
    few, many = (_trained(here, method, kind, layers) for layers in here.size.layers)
    more = here.size.layers[1] - here.size.layers[0]
    ratios = None
    if few["peak"] is not None:
        layer, expected = ((many[name] - few[name]) / more for name in ("peak", "forecast"))
        ratios = {"layer": layer / expected, "whole": few["peak"] / few["forecast"]}
    said = f"{few['seconds_per_step']:.2f} s a step"
    if ratios:
        said += f", {few['peak'] / GIB:.2f} GiB: {ratios['whole']:.2f} of the forecast, {ratios['layer']:.2f} a layer"
    else:
        said += ", no GPU whose memory could be measured"
    return {
        "few": few, "many": many, "ratios": ratios, "said": said,
        "ok": None if ratios is None else all(abs(one - 1) <= MEMORY_WITHIN for one in ratios.values()),
    }  # fmt: skip


def _trained(here: Contact, method: str, kind: str, layers: int, loader: str = "plain") -> Row:
    """One training by the program's own process, on examples that are all as long as may be; bytes, seconds."""
    model, size = here.model(layers), here.size
    spec = load_spec(STAGES[1]).settings
    section = spec.sft if method == "sft" else spec.dpo
    assert section is not None and spec.adapter is not None
    folder = here.place / f"{method}-{kind}-{loader}-{layers}"
    (folder / "checkpoints").mkdir(parents=True)
    rows, longest = _examples(model, size.longest, STEPS * size.micro_batch)
    write_examples(folder / "train.jsonl", rows)
    write_examples(folder / "heldout.jsonl", [])
    adapter = spec.adapter.model_dump() | {"kind": kind, "loader": loader}
    settings = section.model_dump() | {
        "epochs": 1.0, "effective_batch": size.micro_batch, "max_length": size.longest, "examples_at_least": 1,
        "patience": 0, "checkpoint_every": STEPS,
    }  # fmt: skip
    start = here.place / f"sft-lora-plain-{layers}" / adapters.ASIDE
    job = Job(
        method=method, model=str(model), model_name="random", adapter=adapter, settings=settings, seed=7,
        micro_batch=size.micro_batch, gradient_checkpointing=False, resume_from=None,
        start_adapter=str(start) if method == "dpo" and start.is_dir() else None,
    )  # fmt: skip
    told: list[Mapping[str, Any]] = []
    ending = follow(Worker(folder, job, command_for(), 0), Control(), told.append)
    if ending["kind"] != "finished":
        raise RuntimeError(f"{ending['title']} {ending['hint']}".strip())
    steps = [report for report in told if report["kind"] == "step"]
    (loaded,) = [report for report in told if report["kind"] == "loaded"]
    on_gpu = loaded["device_bytes"] is not None
    expected = forecast.forecast(
        forecast.shape_of(model), adapter, method, longest=longest, micro_batch=size.micro_batch,
        gradient_checkpointing=False, bytes_per_weight=2 if on_gpu else 4, device=loaded["device_bytes"],
    )  # fmt: skip
    return {
        "layers": layers, "loader": loaded["loader"], "device": loaded["device"], "longest": longest,
        "steps": len(steps), "losses": [step["loss"] for step in steps],
        "seconds_per_step": min(step["seconds"] for step in steps), "forecast": expected.total,
        "peak": max(step["memory_bytes"] for step in steps) if on_gpu else None,
        "notes": [report["text"] for report in told if report["kind"] == "noted"],
    }  # fmt: skip


def _examples(model: Path, longest: int, n: int) -> tuple[list[dict[str, str]], int]:
    """Examples that have both a completion and two sides, and the tokens of the longest, which is at most `longest`."""
    from engine.models.files.tokenizer import tokenizer_of
    from engine.training.tokens import Tokens

    tokens = Tokens(tokenizer_of(str(model)), None)
    words = " ".join(row["response"] for row in read_data("read_pairs")[:400]).split()
    found, lengths = [], []
    for number in range(n):
        row = {"id": f"{number}", "prompt": f"Instruction: {' '.join(words[number : number + 8])}\nResponse:"}
        at_most = longest - 1 - len(tokens.prompt(row["prompt"]))  # an end marker follows
        said = tokens.tokenizer.decode(
            tokens.plain(" " + " ".join(words[10 * number : 10 * number + longest]))[:at_most]
        )
        while len(tokens.response(said)) > at_most + 1:  # cut texts are not always read as they were cut
            said = said[:-1]
        row |= {"completion": said, "chosen": said, "rejected": said}
        found.append(row)
        lengths.append(tokens.length(row))
    return found, max(lengths)


PARTS: dict[str, Callable[[Contact], Row]] = {
    "weights": weights, "sft": sft, "dpo": dpo, "qlora": qlora, "unsloth": unsloth, "used_up": used_up,
    "margins": margins, "closed": closed, "states": states,
}  # fmt: skip


def one(name: str, here: Contact) -> Row:
    """What a part found, or why it can't be tried here."""
    try:
        return {"part": name, **PARTS[name](here)}
    except NotPossible as error:
        return {"part": name, "not_possible": str(error)}


def table(rows: list[Row]) -> str:
    """A line a part: whether what was stated beforehand holds, seconds, and what was found."""
    words = {True: "as stated", False: "NOT as stated", None: "done"}
    lines = [f"{'part':<10}{'':<16}{'s':>6}  "]
    for row in rows:
        word = "failed" if "error" in row else "not possible" if "not_possible" in row else words[row.get("ok")]
        said = row.get("error") or row.get("not_possible") or row["said"]
        lines.append(f"{row['part']:<10}{word:<16}{row['seconds']:>6.1f}  {said}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(one(given.part, Contact(given.place, SMALL if given.small else FULL))))
        return
    until, rows = time.monotonic() + 60 * MINUTES, []
    with tempfile.TemporaryDirectory() as place:
        for name in given.only:
            words = [__file__, "--part", name, "--place", place, *(["--small"] if given.small else [])]
            began = time.monotonic()
            left = until - began
            row = apart(name, words, min(LIMITS[name], left)) if left > 0 else {"part": name, "error": "no time left"}
            rows.append({**row, "seconds": round(time.monotonic() - began, 1)})
            print(json.dumps(rows[-1]), flush=True)
    print(json.dumps({"versions": versions("torch", "transformers", "trl", "peft"), "machine": machine()}))
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
