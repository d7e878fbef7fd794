"""Steps per second of training against bare TRL: `python bench/training.py [STEPS]`.

Both train the embedded base model by SFT with the same LoRA adapter, examples, batch and settings, each in a process of
its own, in turn, three times. The difference is all that this program adds: its own reports of every step, the check of
the mask, the look for commands. Prints JSON. Step for step both do the same work, so each step is compared with itself:
the shortest time of its rounds under TRL over the shortest under this program; `ratio` is the median over the steps.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
MODEL = "gemma-3-270m"
BATCH, WARM_UP, SEED = 4, 3, 7
ROUNDS = 3


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        return
    steps = int(sys.argv[1]) if sys.argv[1:] else 16
    times: dict[str, list[list[float]]] = {"trl": [], "ours": []}  # by round, then by step
    env = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}  # as the engine starts its process; for both alike
    losses: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for round_ in range(ROUNDS):
            # In turn, and the other way round the second time: what else the machine does meets both alike.
            for which in sorted(times, reverse=round_ % 2 == 0):
                place = Path(folder) / f"{which}-{round_}"
                place.mkdir()
                words = [sys.executable, __file__, "--one", which, str(place), str(steps)]
                subprocess.run(words, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                found = json.loads((place / "times.json").read_text())
                times[which].append(found["between"])
                losses[which] = found["losses"]
    best = {which: [min(step) for step in zip(*found, strict=True)] for which, found in times.items()}
    ratios = [trl / ours for trl, ours in zip(best["trl"], best["ours"], strict=True)]
    report = {
        "model": MODEL,
        "steps": steps,
        "batch": BATCH,
        "rounds": ROUNDS,
        "trl_s_per_step": round(statistics.fmean(best["trl"]), 4),
        "ours_s_per_step": round(statistics.fmean(best["ours"]), 4),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_of_steps": [round(min(ratios), 4), round(max(ratios), 4)],
        "largest_difference_of_a_loss": max(abs(a - b) for a, b in zip(losses["trl"], losses["ours"], strict=True)),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft")},
        "machine": platform.processor() or platform.machine(),
    }
    print(json.dumps(report))


def one(which: str, folder: Path, steps: int) -> None:
    """Train, and leave the time between the ends of steps and the losses."""
    rows = examples(steps * BATCH)
    ends, losses = bare(folder, rows) if which == "trl" else ours(folder, rows)
    between = [b - a for a, b in itertools.pairwise(ends)][WARM_UP:]
    (folder / "times.json").write_text(json.dumps({"between": between, "losses": losses}))


def examples(n: int) -> list[dict[str, str]]:
    """Good pairs of the calibration set, repeated as often as is needed."""
    from engine.core.data import data_file
    from store.export import PROMPT_TEMPLATE

    lines = data_file("calibration_pairs").read_text().splitlines()
    good = [row for row in map(json.loads, lines) if row["label"] == "good"]
    return [
        {
            "id": f"{at}",
            "prompt": PROMPT_TEMPLATE.replace("{instruction}", good[at % len(good)]["instruction"]),
            "completion": f" {good[at % len(good)]['response']}",
        }
        for at in range(n)
    ]


def settings() -> dict[str, Any]:
    from engine.spec.stage import load_spec

    spec = load_spec("stage_1_small_model").settings
    assert spec.sft is not None and spec.adapter is not None
    sft = spec.sft.model_dump() | {"epochs": 1.0, "effective_batch": BATCH, "checkpoint_every": 10_000, "patience": 0}
    return {"sft": sft, "adapter": spec.adapter.model_dump()}


class Ends:
    """When each step ended, by a callback of either trainer."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def callback(self) -> Any:
        from transformers import TrainerCallback

        outer = self

        class Told(TrainerCallback):
            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
                if logs and "loss" in logs:
                    outer.ends.append(time.monotonic())
                    outer.losses.append(float(logs["loss"]))

        return Told()


def bare(folder: Path, rows: list[dict[str, str]]) -> tuple[list[float], list[float]]:
    """TRL by itself, on examples that are tokenised alike."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from engine.models.files.source import resolve
    from engine.models.files.tokenizer import declared_bos
    from engine.models.files.weights import files_of
    from engine.training.tokens import Tokens

    wanted = settings()
    sft, adapter = wanted["sft"], wanted["adapter"]
    path = files_of(resolve(MODEL))
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokens = Tokens(tokenizer, declared_bos(tokenizer))
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")
    config = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=sft["learning_rate"],
        lr_scheduler_type=sft["schedule"],
        warmup_steps=-(-int(sft["warmup_share"] * 100 * len(rows) // BATCH) // 100),
        max_grad_norm=sft["max_grad_norm"],
        weight_decay=sft["weight_decay"],
        optim="adamw_torch",
        seed=SEED,
        data_seed=SEED,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        shuffle_dataset=False,
        max_length=None,
        dataloader_pin_memory=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    lora = LoraConfig(
        r=adapter["rank"], lora_alpha=adapter["alpha"], lora_dropout=adapter["dropout"],
        target_modules=adapter["target_modules"], task_type="CAUSAL_LM",
    )  # fmt: skip
    found = Ends()
    data = Dataset.from_list([tokens.example(row["prompt"], row["completion"]) for row in rows])
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer, peft_config=lora,
                         callbacks=[found.callback()])  # fmt: skip
    trainer.train()
    return found.ends, found.losses


def ours(folder: Path, rows: list[dict[str, str]]) -> tuple[list[float], list[float]]:
    """The program's own training process, with one callback more."""
    import engine.training.trainers as trainers
    from engine.training.child import main as train
    from engine.training.job import Job, write_examples

    wanted = settings()
    write_examples(folder / "train.jsonl", rows)
    write_examples(folder / "heldout.jsonl", [])
    Job(
        method="sft", model=MODEL, model_name=MODEL, adapter=wanted["adapter"], settings=wanted["sft"], seed=SEED,
        micro_batch=BATCH, gradient_checkpointing=False, start_adapter=None, resume_from=None,
    ).write(folder)  # fmt: skip
    found, build = Ends(), trainers.build

    def told(*given: Any) -> Any:
        trainer, method = build(*given)
        trainer.add_callback(found.callback())
        return trainer, method

    trainers.build = told
    train(["", str(folder)])
    return found.ends, found.losses


if __name__ == "__main__":
    main()
