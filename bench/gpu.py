"""What only a GPU shows, in eight minutes on one H100 or H200: `python bench/gpu.py [--eager]`.

(a) The embedded model through transformers: generation and critics. (b) Where vLLM is installed, the architecture of
Qwen2.5-32B with dummy weights (the shipped `engine/data/qwen2.5-32b.json`, nothing is downloaded): generation and
critics through this program as a share of raw vLLM on the same token ids, and from that the time for 15,000 examples.
(c) The GPU's memory before, while and after a model is held, which training needs back. Each part is a process of its
own with a time limit, so that one that fails costs only its own row. Prints one JSON line a part, and one table last.

Dummy weights write random tokens, so texts mean nothing and end at their limit; the work for the GPU is the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import MODEL, ROOT, machine, versions

PARTS = {"embedded": 90, "raw": 190, "ours": 190}  # seconds that each may take
GENERATED, SCORED, WEIGHED = 768, 3072, 512
LIMIT = 96  # tokens of an answer
# Of one candidate of the 32B spec: tokens written, labels scored behind a rubric, and prefills whose end is weighed.
CANDIDATES = 2.5  # expected_candidates_per_accepted
TOKENS_PER_CANDIDATE = 24 + 60  # a line of a list, and a response
SCORES_PER_CANDIDATE = 2 * 3 * 3  # instruction and sample, three orders, words and letters both ways round
PREFILLS_PER_CANDIDATE = 2  # pmi: the response under its instruction, and under none
RATES = ("tokens_per_s", "scores_per_s", "prefills_per_s")


def folder_of(place: Path) -> Path:
    """The 32B configuration beside a byte-level tokenizer of 512 tokens, and unused ones up to the model's number."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<eos>"]
    inner.train_from_iterator(
        [" ".join(words(random.Random(n), 40)) for n in range(200)],
        trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet),
    )
    config = json.loads((ROOT / "engine" / "data" / "qwen2.5-32b.json").read_text())
    told = json.loads(inner.to_str())
    vocabulary = told["model"]["vocab"]
    vocabulary |= {f"unused {n}": n for n in range(len(vocabulary), config["vocab_size"])}
    whole = Tokenizer.from_str(json.dumps(told))
    PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="<eos>", pad_token="<pad>").save_pretrained(place)
    (place / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096, "bos_token_id": None}))
    return place


def words(rng: random.Random, n: int) -> list[str]:
    known = ("river", "bridge", "castle", "garden", "window", "market", "lantern", "orchard", "pencil", "rocket",
             "temple", "village", "yacht", "anchor")  # fmt: skip
    return rng.choices(known, k=n)


def asked() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Prompts to go on from and prompts to score, each with the length of what all of them share."""
    rng = random.Random(7)
    few = " ".join(words(rng, 150)) + "\n"
    rubric = " ".join(words(rng, 220)) + "\n"
    generate = [(few + " ".join(words(rng, 14)), len(few)) for _ in range(GENERATED)]
    score = [(rubric + " ".join(words(rng, 30)), len(rubric)) for _ in range(SCORED)]
    return generate, score


def weighed() -> list[tuple[str, str]]:
    """Instructions and the responses that are weighed under them, as the critic pmi does."""
    from engine.spec import prompts

    rng = random.Random(8)
    rows = [(" ".join(words(rng, 14)), " " + " ".join(words(rng, 60))) for _ in range(WEIGHED // 2)]
    return [(prompts.plain_pair(under).text, said) for instruction, said in rows for under in (instruction, "N/A")]


def used_mib() -> int:
    told = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(told.stdout.split()[0])


def measured(model: Any) -> dict[str, float]:
    """Tokens and scores per second of a model behind the door."""
    from engine.models.requests import Decoding, Generate, Score

    prompts, rubric = asked()
    decoding = Decoding(LIMIT, 0.7, 50, 0.9)
    generate = [Generate(text, decoding, seed, shared) for seed, (text, shared) in enumerate(prompts)]
    score = [Score(text, (" a", " b"), shared) for text, shared in rubric]
    for _ in model.generate(generate[:8]):
        pass
    began = time.perf_counter()
    tokens = sum(len(found.token_ids) for found in model.generate(generate))
    written_s = time.perf_counter() - began
    began = time.perf_counter()
    scored = sum(1 for _ in model.score(score))
    scored_s = time.perf_counter() - began
    prefills = [Score(text, (said,)) for text, said in weighed()]
    began = time.perf_counter()
    done = sum(1 for _ in model.score(prefills))
    rates = tokens / written_s, scored / scored_s, done / (time.perf_counter() - began)
    return dict(zip(RATES, rates, strict=True))


def embedded() -> dict[str, Any]:
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
        folder = folder_of(Path(place))
        text = Text.of(str(folder), chat=False)
        llm = vllm.LLM(
            model=str(folder), load_format="dummy", dtype="bfloat16", enforce_eager=eager, enable_prefix_caching=True,
            gpu_memory_utilization=0.92, max_num_seqs=256, max_model_len=2048, disable_log_stats=True,
        )  # fmt: skip
        prompts, rubric = asked()
        feed = [{"prompt_token_ids": text.encode(one)} for one, _ in prompts]
        params = [
            vllm.SamplingParams(max_tokens=LIMIT, temperature=0.7, top_k=50, top_p=0.9, seed=n, ignore_eos=True)
            for n in range(len(feed))
        ]
        llm.generate(feed[:8], params[:8], use_tqdm=False)
        began = time.perf_counter()
        out = llm.generate(feed, params, use_tqdm=False)
        written_s = time.perf_counter() - began
        tokens = sum(len(one.outputs[0].token_ids) for one in out)
        labels = [text.encode(" a")[-1], text.encode(" b")[-1]]
        ask = vllm.SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=labels)
        began = time.perf_counter()
        llm.generate([{"prompt_token_ids": text.encode(one)} for one, _ in rubric], ask, use_tqdm=False)
        scored_s = time.perf_counter() - began
        ends = [{"prompt_token_ids": [*text.encode(one), *text.plain(said)]} for one, said in weighed()]
        began = time.perf_counter()
        llm.generate(ends, vllm.SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0), use_tqdm=False)
        rates = tokens / written_s, len(rubric) / scored_s, len(ends) / (time.perf_counter() - began)
        return dict(zip(RATES, rates, strict=True))


def ours(eager: bool) -> dict[str, Any]:
    """The same through this program's backend, its engine told to make weights up."""
    from engine.models.files.source import Source
    from engine.models.vllm import engine
    from engine.models.vllm.backend import VllmModel

    os.environ["CAI_PARALLEL"] = "1x1"  # as raw vLLM here
    real = engine._arguments
    engine._arguments = lambda settings: dummy(real(settings)) | {"enforce_eager": eager, "max_model_len": 2048}
    with tempfile.TemporaryDirectory() as place:
        before = used_mib()
        source = Source("dummy 32B", str(folder_of(Path(place))), "", "", embedded=False)
        model = VllmModel.load(source)
        held = used_mib()
        found = measured(model)
        model.close()
        time.sleep(2)
        return {**found, "memory_mib": [before, held, used_mib()]}


def part(name: str, eager: bool) -> dict[str, Any]:
    """One part in a process of its own; what went wrong where it gave no figures."""
    words_ = [sys.executable, __file__, "--part", name, *(["--eager"] if eager else [])]
    pipe = subprocess.PIPE
    running = subprocess.Popen(words_, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, start_new_session=True)
    try:
        out, said = running.communicate(timeout=PARTS[name])
    except subprocess.TimeoutExpired:
        return {"part": name, "error": f"not done after {PARTS[name]} s"}
    finally:  # with what it started: an engine that is left would keep the GPU's memory
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if running.returncode or not lines:
        return {"part": name, "error": (said.strip().splitlines() or ["no output"])[-1][:300]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def main() -> None:
    eager = "--eager" in sys.argv
    if "--part" in sys.argv:
        name = sys.argv[sys.argv.index("--part") + 1]
        found = embedded() if name == "embedded" else raw(eager) if name == "raw" else ours(eager)
        print(json.dumps({"part": name, **found}))
        return
    found = {}
    for name in PARTS:
        found[name] = part(name, eager)
        print(json.dumps(found[name]), flush=True)
    print(json.dumps({"versions": versions("torch", "transformers", "vllm"), "machine": machine(), "eager": eager}))
    table(found)


def table(found: dict[str, dict[str, Any]]) -> None:
    """What came out, with dashes where a part gave nothing."""

    def figure(name: str, key: str) -> float | None:
        return found[name].get(key)

    print(f"\n{'':<34}{'tokens/s':>12}{'scores/s':>12}{'prefills/s':>12}{'GPU memory MiB: before, held, after':>40}")
    for name, title in (("embedded", f"(a) {MODEL}, transformers"), ("raw", "(b) 32B, raw vLLM"),
                        ("ours", "(b) 32B, this program")):  # fmt: skip
        cells = [f"{value:,.0f}" if (value := figure(name, key)) else "–" for key in RATES]
        memory = ", ".join(map(str, found[name].get("memory_mib", ["–"])))
        print(f"{title:<34}{''.join(f'{cell:>12}' for cell in cells)}{found[name].get('error', memory):>40}")
    for key, what in zip(RATES, ("generation", "critics", "pmi"), strict=True):
        a, b = figure("ours", key), figure("raw", key)
        print(f"{f'share of raw vLLM, {what}':<34}{f'{a / b:.3f}' if a and b else '–':>12}   (target 0.95 or more)")
    rates = [rate for key in RATES if (rate := figure("ours", key))]
    if len(rates) == len(RATES):
        work = TOKENS_PER_CANDIDATE, SCORES_PER_CANDIDATE, PREFILLS_PER_CANDIDATE
        each = CANDIDATES * sum(part / rate for part, rate in zip(work, rates, strict=True))
        print(f"{'15,000 examples, minutes':<34}{15_000 * each / 60:>12.1f}   (target under 20)")


if __name__ == "__main__":
    main()
