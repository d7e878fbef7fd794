"""The model that is trained: base weights and an adapter, by Unsloth where it serves, else by transformers and PEFT.

Unsloth patches trl, transformers and peft and must be imported before them, so no model library is imported above.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.core.errors import TrainingError
from engine.models.files.loading import causal_lm
from engine.models.files.tokenizer import tokenizer_of
from engine.models.files.weights import fingerprint_of
from engine.training.job import Job

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def choose_loader(adapter: Mapping[str, Any]) -> tuple[str, str]:
    """The loader, "unsloth" or "plain", and why. Imports Unsloth where it is chosen."""
    if adapter["loader"] == "plain":
        return "plain", "the spec asks for it"
    if importlib.util.find_spec("unsloth") is None:
        return "plain", "Unsloth is not installed"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "plain", "several processes share the model"
    import torch

    if not torch.cuda.is_available():
        return "plain", "Unsloth needs a GPU"
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")  # it asks the hub, and waits 120 s for a slow one
    # From 2026.10.8 on it compiles each block of Llama and Qwen: at each start anew, in memory that no forecast knows.
    os.environ.setdefault("UNSLOTH_BLOCK_COMPILE_LEGACY", "0")
    try:
        import unsloth  # noqa: F401
    except Exception as error:  # it raises what it likes on a GPU or a version that it does not know
        return "plain", f"Unsloth can't be used here ({_said(error)})"
    return "unsloth", "it supports this GPU"


def load(job: Job, folder: str, loader: str, note: Callable[[str], object]) -> tuple[Any, Any, str]:
    """The model with its trainable adapter, called "default", its tokenizer, and the loader that served.

    Where Unsloth fails transformers and PEFT load, and `note` is told why. Raises CaiError.
    """
    import torch

    on_gpu = torch.cuda.is_available()
    require_kernels(job, on_gpu)
    if loader == "unsloth":
        try:
            return *_finished(job, *_by_unsloth(job, folder)), loader
        except torch.OutOfMemoryError:
            raise  # transformers would need no less
        except Exception as error:  # of many kinds: RuntimeError, NotImplementedError, TypeError, what a kernel raises
            note(f"loader: plain, since Unsloth could not load this model ({_said(error)})")
        gc.collect()
        torch.cuda.empty_cache()
    try:
        return *_finished(job, *_by_transformers(job, folder, on_gpu)), "plain"
    except (OSError, ValueError, ImportError) as error:
        raise TrainingError(
            f"the model to train could not be loaded: {_said(error)}",
            "Check the model's name and the libraries with `cai doctor`. Nothing was trained.",
        ) from error


def require_kernels(job: Job, on_gpu: bool) -> None:
    """Raise TrainingError for weights of four bits where no GPU is."""
    if job.adapter["kind"] == "qlora" and not on_gpu:
        raise TrainingError(
            "QLoRA needs a GPU: its 4-bit weights are computed by CUDA kernels",
            "Set adapter.kind=lora to train here. Nothing was trained.",
        )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"


def _finished(job: Job, model: Any, tokenizer: Any) -> tuple[Any, Any]:
    tokenizer.chat_template = None
    for config in model.peft_config.values():
        config.base_model_name_or_path = job.model_name  # a folder of this machine says nothing elsewhere
    return model, tokenizer


def _by_transformers(job: Job, folder: str, on_gpu: bool) -> tuple[Any, Any]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import BitsAndBytesConfig

    more: dict[str, Any] = {}
    if job.adapter["kind"] == "qlora":
        # nf4 with double quantisation, computed in bfloat16: Dettmers et al. 2023 (arXiv 2305.14314, section 3).
        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
            # FSDP shards only tensors of one floating-point type, so the four bits are stored as that one.
            bnb_4bit_quant_storage=torch.bfloat16 if int(os.environ.get("WORLD_SIZE", "1")) > 1 else torch.uint8,
        )
    dtype = torch.bfloat16 if on_gpu else torch.float32
    model = causal_lm(folder, dtype=dtype, attn_implementation="sdpa", **more)
    model.config.use_cache = False
    tokenizer = tokenizer_of(folder)
    if job.adapter["kind"] == "qlora":
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=job.gradient_checkpointing)
    torch.manual_seed(job.seed)  # the adapter's first weights are drawn here
    if job.start_adapter:
        return _gone_on_with(job, model), tokenizer
    config = LoraConfig(target_modules=job.adapter["target_modules"], task_type="CAUSAL_LM", **_lora(job))
    return get_peft_model(model, config), tokenizer


def _by_unsloth(job: Job, folder: str) -> tuple[Any, Any]:
    from unsloth import FastLanguageModel

    model, tokenizer = FastLanguageModel.from_pretrained(
        model_name=folder,
        max_seq_length=job.settings["max_length"],
        dtype=None,
        load_in_4bit=job.adapter["kind"] == "qlora",
    )
    checkpointing = "unsloth" if job.gradient_checkpointing else False
    if job.start_adapter:  # its kernels are put around an adapter that is there only by this call
        model = FastLanguageModel.patch_peft_model(_gone_on_with(job, model), use_gradient_checkpointing=checkpointing)
        return model, tokenizer
    targets = job.adapter["target_modules"]
    model = FastLanguageModel.get_peft_model(
        model,
        target_modules=LINEAR if targets == "all-linear" else targets,
        use_gradient_checkpointing=checkpointing,
        random_state=job.seed,
        **_lora(job),
    )
    return model, tokenizer


def _lora(job: Job) -> dict[str, Any]:
    """What both ways of making a new adapter are told of its shape."""
    adapter = job.adapter
    return {"r": adapter["rank"], "lora_alpha": adapter["alpha"], "lora_dropout": adapter["dropout"], "bias": "none"}


def _gone_on_with(job: Job, model: Any) -> Any:
    """The model with the adapter that this training begins with."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, job.start_adapter, is_trainable=True)
    set_dropout(model, float(job.adapter["dropout"]))
    return model


def require_base(job: Job, path: str) -> None:
    """Raise TrainingError where the weights are not those that wrote the data, as far as that was noted."""
    if job.base_fingerprint is None or job.base_dtype is None:
        return
    found = fingerprint_of(path, f"torch.{job.base_dtype}")
    if found != job.base_fingerprint:
        raise TrainingError(
            f"the model {job.model_name} is not the one that wrote the data (fingerprint {found}, was "
            f"{job.base_fingerprint})",
            "Restore the old weights, or make the data anew. Nothing was trained.",
        )


def set_dropout(model: Any, p: float) -> None:
    """The spec's dropout in an adapter that was trained with another one; PEFT has no module for none at all."""
    import torch

    for module in model.modules():
        if "default" in getattr(module, "lora_dropout", {}):
            module.lora_dropout["default"] = torch.nn.Dropout(p) if p else torch.nn.Identity()


def save_adapter(checkpoint: Path, tokenizer: Any, folder: Path) -> None:
    """The adapter of a checkpoint, its configuration and the tokenizer, without a chat template."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        shutil.copyfile(checkpoint / name, folder / name)
    tokenizer.save_pretrained(str(folder))
