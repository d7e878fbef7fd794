"""What only a GPU shows, in eight minutes on one H100 or H200: `python bench/gpu.py [--eager]`.

(a) The embedded model through transformers: generation and critics. (b) Where vLLM is installed, the architecture of
Qwen2.5-32B with dummy weights (the shipped `engine/data/qwen2.5-32b.json`, nothing is downloaded): generation and
critics through this program as a share of raw vLLM on the same token ids. (c) The GPU's memory before, while and after
a model is held, which training needs back.

What is asked is the work of the shipped specs of stage 1 and stage 6, each kind of request with its share
(`bench/gpus/workload.py`), and what label critics ask where no probe passes its audit; from that the hours for 15,000
examples follow. A text that a probe reads is asked for by its hidden states, where the model shows them; raw vLLM has
it computed, and writes one token. Each part is a process of its own with a time limit, so that one that fails costs
only its own row. Prints one JSON line a part, and one table last.

Dummy weights write random tokens, so texts mean nothing and end at their limit; the work for the GPU is the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bench.common import MODEL, apart, machine, versions
from bench.gpus.dummy import folder
from bench.gpus.workload import STAGES, amounts, sample
from engine.critics.probe import layers_of
from engine.models.requests import Read
from engine.planning.fit import without_probe
from engine.spec.stage import StageSpec, load_spec

PARTS = {"embedded": 90, "raw": 190, "ours": 190}  # seconds that each may take
ASKED = {"written": 384, "reads": 1024, "labels": 1024}  # requests of each stage
RATES = {"written": "tokens_per_s", "reads": "reads_per_s", "labels": "scores_per_s"}
CONTEXT = 2048
HOURS = {STAGES[0]: 0.75, STAGES[1]: 2.5}  # that 15,000 examples are to take on one H100


def asked(stage: str) -> dict[str, list[Any]]:
    """The requests of a stage by kind; two stages ask hardly anything alike, which the second would find computed."""
    spec, first = without_probe(load_spec(stage).settings), 1000 * STAGES.index(stage)
    return {kind: sample(spec, kind, wanted, first) for kind, wanted in ASKED.items()}


def used_mib() -> int:
    told = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(told.stdout.split()[0])


def rates(work: dict[str, list[Any]], do: dict[str, Callable[[list[Any]], int]]) -> dict[str, float]:
    """Tokens, texts read and scores a second; each of `do` takes requests and returns how much of it they were."""
    found = {}
    for kind, answered in do.items():
        began = time.perf_counter()
        found[RATES[kind]] = answered(work[kind]) / (time.perf_counter() - began)
    return found


def measured(model: Any) -> dict[str, Any]:
    """What a model behind the door reaches on each stage, and of how many layers it shows states."""

    def written(requests: list[Any]) -> int:
        return sum(len(found.token_ids) for found in model.generate(requests))

    def read(requests: list[Any]) -> int:
        layer = layers_of(model.layers)[-1:]
        return sum(1 for _ in model.hidden([Read(one.prompt, layer) for one in requests]))

    def scored(requests: list[Any]) -> int:
        return sum(1 for _ in model.score(requests))

    do = {"written": written, **({"reads": read} if model.layers else {}), "labels": scored}
    found: dict[str, Any] = {"layers": model.layers}
    for stage in STAGES:
        work = asked(stage)
        written(work["written"][:8])
        found[stage] = rates(work, do)
    return found


def embedded(_: bool) -> dict[str, Any]:
    from engine.models.files.source import resolve
    from engine.models.local.backend import TransformersModel

    before = used_mib()
    model = TransformersModel.load(resolve(None))
    held = used_mib()
    found = measured(model)
    model.close()
    return {**found, "memory_mib": [before, held, used_mib()]}


def dummy(settings: dict[str, Any]) -> dict[str, Any]:
    """vLLM's arguments with weights that are made up instead of read."""
    return settings | {"load_format": "dummy"}


def raw(eager: bool) -> dict[str, Any]:
    """vLLM as its own documentation uses it, on the token ids that this program would send."""
    import vllm

    from engine.models.files.tokenizer import Text

    with tempfile.TemporaryDirectory() as place:
        name = str(folder(Path(place)))
        text = Text.of(name, chat=False)
        llm = vllm.LLM(
            model=name, load_format="dummy", dtype="bfloat16", enforce_eager=eager, enable_prefix_caching=True,
            gpu_memory_utilization=0.92, max_num_seqs=256, max_model_len=CONTEXT, disable_log_stats=True,
        )  # fmt: skip

        def run(ids: list[list[int]], params: list[Any]) -> list[Any]:
            return llm.generate([{"prompt_token_ids": one} for one in ids], params, use_tqdm=False)  # type: ignore[no-any-return]

        def written(requests: list[Any]) -> int:
            params = [
                vllm.SamplingParams(max_tokens=one.decoding.max_tokens, temperature=one.decoding.temperature,
                                    top_k=one.decoding.top_k, top_p=one.decoding.top_p, seed=one.seed,
                                    ignore_eos=True)
                for one in requests
            ]  # fmt: skip
            out = run([text.encode(one.prompt) for one in requests], params)
            return sum(len(one.outputs[0].token_ids) for one in out)

        def read(requests: list[Any]) -> int:
            # What the cache holds of a text has no states: none of it is taken from there by either.
            params = vllm.SamplingParams(temperature=0, max_tokens=1, skip_reading_prefix_cache=True)
            return len(run([text.encode(one.prompt) for one in requests], [params] * len(requests)))

        def labels(requests: list[Any]) -> int:
            params = [
                vllm.SamplingParams(
                    temperature=0, max_tokens=1, logprob_token_ids=[text.plain(x)[-1] for x in one.labels]
                )
                for one in requests
            ]
            return len(run([text.encode(one.prompt) for one in requests], params))

        do = {"written": written, "reads": read, "labels": labels}
        found = {}
        for stage in STAGES:
            work = asked(stage)
            written(work["written"][:8])
            found[stage] = rates(work, do)
        return found


def ours(eager: bool) -> dict[str, Any]:
    """The same through this program's backend, its engine told to make weights up."""
    from engine.models.files.source import Source
    from engine.models.vllm import engine
    from engine.models.vllm.backend import VllmModel

    os.environ["CAI_PARALLEL"] = "1x1"  # as raw vLLM here
    real = engine._arguments
    engine._arguments = lambda settings: dummy(real(settings)) | {"enforce_eager": eager, "max_model_len": CONTEXT}
    with tempfile.TemporaryDirectory() as place:
        before = used_mib()
        model = VllmModel.load(Source("dummy 32B", str(folder(Path(place))), "", "", embedded=False))
        held = used_mib()
        found = measured(model)
        model.close()
        time.sleep(2)
        return {**found, "memory_mib": [before, held, used_mib()]}


def main() -> None:
    eager = "--eager" in sys.argv
    if "--part" in sys.argv:
        name = sys.argv[sys.argv.index("--part") + 1]
        found = {"embedded": embedded, "raw": raw, "ours": ours}[name](eager)
        print(json.dumps({"part": name, **found}))
        return
    found = {}
    for name, seconds in PARTS.items():
        found[name] = apart(name, [__file__, "--part", name, *(["--eager"] if eager else [])], seconds)
        print(json.dumps(found[name]), flush=True)
    print(json.dumps({"versions": versions("torch", "transformers", "vllm"), "machine": machine(), "eager": eager}))
    table(found)


def table(found: dict[str, dict[str, Any]]) -> None:
    """What came out, with dashes where a part gave nothing."""
    titles = {"embedded": f"(a) {MODEL}, transformers", "raw": "(b) 32B, raw vLLM", "ours": "(b) 32B, this program"}
    for stage in STAGES:
        print(f"\n{stage:<36}" + "".join(f"{name.replace('_per_s', '/s'):>14}" for name in RATES.values()))
        for part, title in titles.items():
            reached = found[part].get(stage, {})
            cells = [f"{reached[name]:,.0f}" if name in reached else "–" for name in RATES.values()]
            print(f"{title:<36}{''.join(f'{cell:>14}' for cell in cells)}")
        mine, theirs = found["ours"].get(stage, {}), found["raw"].get(stage, {})
        if theirs and mine:
            shares = [f"{mine[name] / theirs[name]:.3f}" if name in mine else "–" for name in RATES.values()]
            print(f"{'share of raw vLLM':<36}{''.join(f'{share:>14}' for share in shares)}")
        if RATES["reads"] in mine:
            spec = load_spec(stage).settings
            with_probes, without = (hours(one, mine) for one in (spec, without_probe(spec)))
            print(f"{'15,000 examples, hours':<36}{with_probes:>14.2f}   (target {HOURS[stage]} or less)")
            print(f"{'the same where no probe passes':<36}{without:>14.2f}")
    for part, title in titles.items():
        if found[part].get("layers") == 0:
            print(f"\n{title}: it shows no hidden states, so that no probe can read and no hours are told")
    print(f"\n{'GPU memory MiB: before, held, after':<36}")
    for part, title in titles.items():
        memory = ", ".join(map(str, found[part].get("memory_mib", ["–"])))
        print(f"{title:<36}{found[part].get('error', memory)}")


def hours(spec: StageSpec, reached: dict[str, float]) -> float:
    """What the data of a stage take at these rates."""
    whole = amounts(spec)
    each = (whole.tokens, whole.reads, whole.labels)
    return sum(n / reached[name] for n, name in zip(each, RATES.values(), strict=True)) / 3600


if __name__ == "__main__":
    main()
