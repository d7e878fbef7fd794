"""Critic items per second against what people would write instead: `python bench/critics.py`.

The same prompts and labels, float32, on the embedded model: one forward an item over the whole prompt (the naive way),
padded batches with only the last position's logits (the careful way; the best of several sizes), and this program's
`score`, which computes the shared rubric once. With a rubric of eleven graded examples (about 500 tokens) and with one
of two (about 100). Margins of all three must agree to 0.002 nats. Padded batches in bfloat16 are told beside them, with
how far their margins are off: faster, and no longer the same. Then the probe against the critic `grade` in three
orders, as a run asks both. Prints one JSON line; `ratio_naive`, `ratio_padded` and `ratio_grade` are the figures.
"""

from __future__ import annotations

import json
import time
from typing import Any

import torch
from common import MODEL, report

from engine.core.data import read_data
from engine.critics import Subject
from engine.critics.label import LabelCritic
from engine.critics.probe import probe_of_row
from engine.critics.probed import SHIPPED, ProbeCritic
from engine.models.answers import scores_of
from engine.models.files.embedded import ensure
from engine.models.registry import load
from engine.models.requests import Score
from engine.spec import prompts

ITEMS = 96
PADDED_ITEMS = 16  # of those, so that what is slow does not take minutes
NAIVE_ITEMS = 6
SIZES = (4, 8)
SHUFFLES = 3  # orders of the graded examples, as the small specs have them
LABELS = (" good", " bad")
SAME_WITHIN = 0.002


def requests(examples: int) -> list[Score]:
    """Pairs to grade after so many graded examples."""
    graded = [(row["instruction"], row["response"], row["label"]) for row in read_data("grade_pairs")[:examples]]
    rows = read_data("calibration_pairs")[:ITEMS]
    asked = [prompts.grade_pair(graded, row["instruction"], row["response"]) for row in rows]
    return [Score(prompt.text, LABELS, prompt.shared) for prompt in asked]


def margins_ours(model: Any, asked: list[Score]) -> tuple[list[float], float]:
    began = time.perf_counter()
    scored = {found.request.prompt: found.logprobs[0] - found.logprobs[1] for found in model.score(asked)}
    seconds = time.perf_counter() - began
    return [scored[request.prompt] for request in asked], seconds


def margins_naive(model: Any, encode: Any, asked: list[Score], good: int, bad: int) -> tuple[list[float], float]:
    began = time.perf_counter()
    found = []
    with torch.no_grad():
        for request in asked:
            ids = torch.tensor([encode(request.prompt)])
            logits = model(ids).logits[0, -1].float()
            found.append(float(logits[good] - logits[bad]))
    return found, time.perf_counter() - began


def margins_padded(
    model: Any, encode: Any, asked: list[Score], good: int, bad: int, size: int
) -> tuple[list[float], float]:
    began = time.perf_counter()
    encoded = [encode(request.prompt) for request in asked]
    order = sorted(range(len(encoded)), key=lambda at: len(encoded[at]))
    found = [0.0] * len(encoded)
    with torch.no_grad():
        for start in range(0, len(order), size):
            some = order[start : start + size]
            longest = max(len(encoded[at]) for at in some)
            ids = torch.zeros((len(some), longest), dtype=torch.long)
            mask = torch.zeros((len(some), longest), dtype=torch.long)
            for row, at in enumerate(some):  # on the left, so that the last position is the last of every row
                ids[row, longest - len(encoded[at]) :] = torch.tensor(encoded[at])
                mask[row, longest - len(encoded[at]) :] = 1
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            out = model(ids, attention_mask=mask, position_ids=positions, logits_to_keep=1).logits[:, -1].float()
            for row, at in enumerate(some):
                found[at] = float(out[row, good] - out[row, bad])
    return found, time.perf_counter() - began


def against_grade(model: Any) -> dict[str, float]:
    """Items a second of the shipped probe and of `grade` in three orders, on the same responses, in turn."""
    row = json.loads(
        next(path for path in SHIPPED.glob("*.json") if '"kind": "sample"' in path.read_text()).read_text()
    )
    critics = {"probe": ProbeCritic("sample", probe_of_row(row)), "grade": LabelCritic("grade", "sample", SHUFFLES)}
    items = [Subject(row["id"], row["instruction"], row["response"]) for row in read_data("calibration_pairs")[:ITEMS]]
    seconds = dict.fromkeys(critics, 0.0)
    for turn in range(3):  # the first one warms
        for name, critic in critics.items():
            asked = [ask.request for item in items for ask in critic.asks(item)]
            asked.sort(key=lambda request: request.prompt[: request.shared])
            began = time.perf_counter()
            assert len(list(scores_of(model, asked))) == len(asked)
            seconds[name] += (time.perf_counter() - began) * (turn > 0)
    rates = {name: 2 * ITEMS / taken for name, taken in seconds.items()}
    told = {f"{name}_items_per_s": round(rate, 2) for name, rate in rates.items()}
    return {**told, "ratio_grade": round(rates["probe"] / rates["grade"], 2)}


def main() -> None:
    from transformers import AutoModelForCausalLM

    ours = load(None)
    bare = AutoModelForCausalLM.from_pretrained(ensure(MODEL), dtype=torch.float32, attn_implementation="sdpa").eval()

    half = AutoModelForCausalLM.from_pretrained(ensure(MODEL), dtype=torch.bfloat16, attn_implementation="sdpa").eval()

    def encode(text: str) -> list[int]:
        return list(ours.encoding(text).token_ids)

    good, bad = (ours._text.plain(label)[0] for label in LABELS)  # type: ignore[attr-defined]
    figures: dict[str, Any] = {}
    for name, examples in (("long", 11), ("short", 2)):
        asked = requests(examples)
        list(ours.score(asked[:4]))  # warm
        margins_naive(bare, encode, asked[:1], good, bad)
        own, before_s = margins_ours(ours, asked)
        naive, naive_s = margins_naive(bare, encode, asked[:NAIVE_ITEMS], good, bad)
        padded = {size: margins_padded(bare, encode, asked[:PADDED_ITEMS], good, bad, size) for size in SIZES}
        apart = max(
            [abs(a - b) for a, b in zip(own, naive, strict=False)]
            + [abs(a - b) for found, _ in padded.values() for a, b in zip(own, found, strict=False)]
        )
        if apart > SAME_WITHIN:
            raise SystemExit(f"margins differ by {apart:.4f} nats: nothing may be faster by being wrong")
        _, after_s = margins_ours(ours, asked)  # on both sides of what it is compared with: machines drift
        rounded, rounded_s = margins_padded(half, encode, asked[:PADDED_ITEMS], good, bad, SIZES[-1])
        best = min(padded, key=lambda size: padded[size][1])
        per_s = {
            "ours": 2 * ITEMS / (before_s + after_s),
            "naive": NAIVE_ITEMS / naive_s,
            "padded": PADDED_ITEMS / padded[best][1],
        }
        figures[name] = {
            "rubric_tokens": len(encode(asked[0].prompt[: asked[0].shared])),
            "prompt_tokens": round(sum(len(encode(request.prompt)) for request in asked) / ITEMS, 1),
            "items_per_s": {key: round(value, 2) for key, value in per_s.items()},
            "padded_batch": best,
            "ratio_naive": round(per_s["ours"] / per_s["naive"], 2),
            "ratio_padded": round(per_s["ours"] / per_s["padded"], 2),
            "largest_difference_nats": round(apart, 6),
            "padded_bfloat16": {
                "items_per_s": round(PADDED_ITEMS / rounded_s, 2),
                "largest_difference_nats": round(max(abs(a - b) for a, b in zip(own, rounded, strict=False)), 3),
            },
        }
    figures["probe"] = against_grade(ours)
    report(benchmark="critics", model=MODEL, items=ITEMS, **figures)


if __name__ == "__main__":
    main()
