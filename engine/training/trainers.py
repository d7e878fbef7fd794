"""TRL's trainers with data tokenised by this program, checkpoints that are whole, and every figure of every step.

Nothing of the methods is written here: loss, reference and optimiser are TRL's. What is replaced is the preparation of
texts (see `tokens`), the way a checkpoint reaches the disk (see `checkpoints`) and where the figures go.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import Trainer

from engine.models import checkpoints
from engine.training.job import Job
from engine.training.tokens import IGNORED, Tokens

Rows = Sequence[Mapping[str, str]]
WEIGHTS = "adapter_model.safetensors"


class Kept(Trainer):  # type: ignore[misc]
    """Mixed in before one of TRL's trainers.

    `on_batch` is told the inputs of each training batch, `on_checkpoint` each checkpoint that is in place.
    """

    folder: Path
    on_batch: Callable[[Mapping[str, Any]], None]
    on_checkpoint: Callable[[checkpoints.Checkpoint], None]
    heldout_loss: float | None = None  # of the step that is saved

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.on_batch(inputs)
        return super().training_step(model, inputs, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        # Measuring draws random numbers, too; training must not depend on whether it was measured between.
        with torch.random.fork_rng():
            return super().evaluate(*args, **kwargs)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # tokenised already

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.folder / checkpoints.FOLDER / ".partial")

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        # transformers would bring all base weights together, of which PEFT then writes none.
        whole = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        self._save(output_dir, get_model_state_dict(self.model, options=whole))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:  # other processes hold no whole weights
            return
        assert output_dir is not None
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        model = self.accelerator.unwrap_model(self.model)
        # The reference is a copy of the adapter that training began with: it is made again from there.
        model.save_pretrained(output_dir, selected_adapters=["default"], state_dict=state_dict,
                              save_embedding_layers=False)  # fmt: skip
        (Path(output_dir) / "README.md").unlink(missing_ok=True)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        # Past TRL's own version, which writes a model card into every checkpoint.
        Trainer._save_checkpoint(self, model, trial)
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            step = self.state.global_step
            aside = self.folder / checkpoints.FOLDER / ".partial" / f"checkpoint-{step}"
            made = checkpoints.seal(aside, self.folder, step, self.heldout_loss)
            self.on_checkpoint(made)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # whose shards only they can fill
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        folder = Path(resume_from_checkpoint)
        found = set_peft_model_state_dict(self.model, load_file(str(folder / WEIGHTS)), adapter_name="default")
        if found.unexpected_keys:
            raise ValueError(f"{folder.name} holds weights of another adapter: {found.unexpected_keys[0]}")


class Sft(Kept, trl.SFTTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, packing: bool, *rest: Any) -> Any:
        if packing:  # TRL packs what is tokenised, and cuts nothing since no example is longer than a row
            return trl.SFTTrainer._prepare_dataset(self, dataset, processing_class, args, packing, *rest)
        return dataset


class Kto(Kept, trl.KTOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, *rest: Any) -> Any:
        # The KL term pairs each prompt with its neighbour's answer: Ethayarajh et al. 2024 (arXiv 2402.01306, 4.1).
        answers, size = list(dataset["completion_ids"]), args.per_device_train_batch_size
        batches = [answers[at : at + size] for at in range(0, len(answers), size)]
        if len(batches) > 1 and len(batches[-1]) == 1:  # whose only row would be its own neighbour
            batches[-2:] = [batches[-2] + batches[-1]]
        return dataset.add_column("KL_completion_ids", [ids for batch in batches for ids in batch[-1:] + batch[:-1]])


class PairedTrainer(Kept):
    """Mixed in before the trainers of TRL that would tokenise row by row."""

    def tokenize_row(self, feature: Any, model: Any = None) -> dict[str, Any]:
        return dict(feature)


def _orpo() -> tuple[type[Kept], Any]:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    return type("Orpo", (PairedTrainer, ORPOTrainer), {}), ORPOConfig


def _simpo() -> tuple[type[Kept], Any]:
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    return type("Simpo", (PairedTrainer, CPOTrainer), {}), CPOConfig


@dataclass(frozen=True)
class Method:
    """A way to train: how rows become token ids, which trainer, which arguments, and which tokens are learned."""

    tokenise: Callable[[Rows, Tokens], list[Any]]
    trainer: Callable[[], tuple[type[Kept], Any]]
    more: Callable[[Mapping[str, Any]], dict[str, Any]]
    supervised: Callable[[Mapping[str, Any]], list[tuple[list[int], list[bool]]]]


def sft_rows(rows: Rows, tokens: Tokens) -> list[Any]:
    return [tokens.example(row["prompt"], row["completion"]) for row in rows]


def pair_rows(rows: Rows, tokens: Tokens) -> list[Any]:
    return [
        {"prompt_ids": tokens.prompt(row["prompt"])}
        | {f"{side}_ids": tokens.response(row[side]) for side in ("chosen", "rejected")}
        for row in rows
    ]


def unpaired_rows(rows: Rows, tokens: Tokens) -> list[Any]:
    """Each pair as a desirable and an undesirable example, in turn, since TRL's KTO reads them in order.

    The two sides of a prompt stand half the data apart, so that a row's neighbour, whose answer the KL term takes, is
    of another prompt.
    """
    apart = len(rows) // 2
    order = [
        (rows[at], "chosen", True) if good else (rows[(at + apart) % len(rows)], "rejected", False)
        for at in range(len(rows))
        for good in (True, False)
    ]
    return [
        {"prompt_ids": tokens.prompt(row["prompt"]), "completion_ids": tokens.response(row[side]), "label": good}
        for row, side, good in order
    ]


def labelled_pair_rows(rows: Rows, tokens: Tokens) -> list[Any]:
    """Pairs in the columns of TRL's ORPO and CPO trainers, which read `prompt`, `chosen` and `rejected` besides."""
    found = []
    for row in rows:
        new: dict[str, Any] = {name: row[name] for name in ("prompt", "chosen", "rejected")}
        new["prompt_input_ids"] = tokens.prompt(row["prompt"])
        new["prompt_attention_mask"] = [1] * len(new["prompt_input_ids"])
        for side in ("chosen", "rejected"):
            example = tokens.example(row["prompt"], row[side])
            new |= {f"{side}_{name}": ids for name, ids in example.items()}
            new[f"{side}_attention_mask"] = [1] * len(example["input_ids"])
        found.append(new)
    return found


def _by_labels(ids: Any, labels: Any, attention: Any) -> list[tuple[list[int], list[bool]]]:
    rows = []
    for row, marks, seen in zip(ids.tolist(), labels.tolist(), attention.tolist(), strict=True):
        kept = [at for at, one in enumerate(seen) if one]
        rows.append(([row[at] for at in kept], [marks[at] != IGNORED for at in kept]))
    return rows


def sft_supervised(inputs: Mapping[str, Any]) -> list[tuple[list[int], list[bool]]]:
    """Rows of a batch as (ids, supervised), those packed into one row apart."""
    ids, labels = inputs["input_ids"], inputs["labels"]
    if "attention_mask" in inputs:
        return _by_labels(ids, labels, inputs["attention_mask"])
    row, marks, places = ids[0].tolist(), labels[0].tolist(), inputs["position_ids"][0].tolist()
    starts = [at for at, place in enumerate(places) if place == 0] + [len(row)]
    # TRL never learns the first token of a packed example, which the mask would leave out anyhow.
    return [(row[a:b], [mark != IGNORED for mark in marks[a:b]]) for a, b in itertools.pairwise(starts) if b > a]


def _by_completion(inputs: Mapping[str, Any]) -> list[tuple[list[int], list[bool]]]:
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, IGNORED)
    return _by_labels(inputs["input_ids"], labels, inputs["attention_mask"])


def _by_sides(inputs: Mapping[str, Any]) -> list[tuple[list[int], list[bool]]]:
    return [
        row
        for side in ("chosen", "rejected")
        for row in _by_labels(inputs[f"{side}_input_ids"], inputs[f"{side}_labels"], inputs[f"{side}_attention_mask"])
    ]


def _dpo() -> tuple[type[Kept], Any]:
    return type("Dpo", (Kept, trl.DPOTrainer), {}), trl.DPOConfig


def _with_reference(settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    precompute = settings["precompute_reference"]
    return {"beta": settings["beta"], "precompute_ref_log_probs": precompute, "max_length": None, **more}


def _without_reference(settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"beta": settings["beta"], "max_length": settings["max_length"], **more}


METHODS: dict[str, Method] = {
    "sft": Method(
        sft_rows,
        lambda: (Sft, trl.SFTConfig),
        lambda s: {
            "packing": s["packing"],
            "eval_packing": False,
            "max_length": s["max_length"] if s["packing"] else None,
            "completion_only_loss": True,
            "shuffle_dataset": False,
        },
        sft_supervised,
    ),
    # Rafailov et al. 2023 (arXiv 2305.18290, equation 7).
    "dpo": Method(pair_rows, _dpo, lambda s: _with_reference(s, loss_type=["sigmoid"]), _by_completion),
    # Azar et al. 2023 (arXiv 2310.12036, equation 17).
    "ipo": Method(pair_rows, _dpo, lambda s: _with_reference(s, loss_type=["ipo"]), _by_completion),
    # Ethayarajh et al. 2024 (arXiv 2402.01306, equation 8).
    "kto": Method(unpaired_rows, lambda: (Kto, trl.KTOConfig), _with_reference, _by_completion),
    # Hong et al. 2024 (arXiv 2403.07691, equation 6): no reference.
    "orpo": Method(labelled_pair_rows, _orpo, _without_reference, _by_sides),
    # Meng et al. 2024 (arXiv 2405.14734, equation 6): no reference, margins per token.
    "simpo": Method(
        labelled_pair_rows,
        _simpo,
        lambda s: _without_reference(s, loss_type="simpo", cpo_alpha=0.0, simpo_gamma=0.5 * s["beta"]),
        _by_sides,
    ),
}


def arguments(job: Job, folder: Path) -> Any:
    """The arguments of a job's trainer. The effective batch is the spec's, whatever fits the device.

    Made before the model is loaded, because with several processes it is they that set up the devices.
    """
    method = METHODS[job.method]
    _, config_class = method.trainer()
    settings = job.settings
    # A pair is two examples to KTO, and still one to the spec.
    factor = 2 if job.method == "kto" else 1
    world = int(os.environ.get("WORLD_SIZE", "1"))
    on_gpu = torch.cuda.is_available()
    return config_class(
        output_dir=str(folder),
        per_device_train_batch_size=job.micro_batch * factor,
        per_device_eval_batch_size=job.micro_batch * factor,
        **({"precompute_ref_batch_size": job.reference_batch * factor} if job.reference_batch else {}),
        gradient_accumulation_steps=settings["effective_batch"] // (job.micro_batch * world),
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type=settings["schedule"],
        warmup_steps=min(settings["warmup_share"], 0.999),  # below 1 it is a share of all steps
        weight_decay=settings["weight_decay"],
        max_grad_norm=settings["max_grad_norm"],
        optim="adamw_torch",
        seed=job.seed,
        data_seed=job.seed,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        gradient_checkpointing=job.gradient_checkpointing,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to=list(job.report_to) or "none",
        disable_tqdm=True,
        dataloader_pin_memory=on_gpu,
        ddp_find_unused_parameters=False,
        **method.more(settings),
    )


def build(
    job: Job, folder: Path, config: Any, model: Any, tokenizer: Any, tokens: Tokens, train: Rows, heldout: Rows
) -> tuple[Kept, Method]:
    """The trainer of a job over its examples, with the arguments that `arguments` made."""
    method = METHODS[job.method]
    trainer_class, _ = method.trainer()
    drawn = {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}
    trainer = trainer_class(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(method.tokenise(train, tokens)),
        eval_dataset=Dataset.from_list(method.tokenise(heldout, tokens)) if heldout else None,
        processing_class=tokenizer,
    )
    trainer.folder = folder
    # TRL has adapters beside weights of four bits in bfloat16, where a number of 0.01 moves by 6e-5 or not at all: not
    # by a step at a learning rate of 5e-6. And DPO would begin with other weights than its reference.
    for name, weight in model.named_parameters():
        if name in drawn and weight.dtype != drawn[name].dtype:
            weight.data = drawn[name]
    shards = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if shards is not None and shards.mixed_precision_policy is not None:
        # The loss comes out of the sharded model, which would round it to 16 bits, and gradients are summed in as many.
        policy = shards.mixed_precision_policy
        shards.mixed_precision_policy = replace(policy, reduce_dtype=torch.float32, output_dtype=None)
    return trainer, method
