"""What a training would be, in words: plans as `engine.training_plan` gives them, for the room and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.core.figures import count
from store.names import SUPERVISED

GIB = 2**30
MEMORY_PARTS = ("weights", "adapter", "optimiser", "activations", "logits")


def title_of(plan: Mapping[str, Any]) -> str:
    """SFT, DPO; or the name of another loss or of a control."""
    return str(plan["method"]).upper().replace("_", ", ")


def section_of(plan: Mapping[str, Any]) -> str:
    """The section of the spec that it is trained by; a control's is that of SFT."""
    return "sft" if plan["kind"] in SUPERVISED else "dpo"


def examples_words(plan: Mapping[str, Any]) -> str:
    return f"{count(plan['examples'])} to learn from, {count(plan['heldout'])} held out"


def steps_words(plan: Mapping[str, Any]) -> str:
    settings = plan["settings"]
    epochs = settings["epochs"]
    return (
        f"{count(plan['steps'])} of {settings['effective_batch']} examples, "
        f"{epochs:g} epoch{'' if epochs == 1 else 's'}"
    )


def start_words(plan: Mapping[str, Any]) -> str:
    if plan["start"]:
        return f"the adapter of {plan['start']}"
    return "a new adapter" if plan["method"] in (*SUPERVISED, "orpo") else "the SFT adapter, which is not trained yet"


def memory_words(memory: Mapping[str, Any] | None) -> tuple[str, str, bool]:
    """The forecast against what the device has, its parts, and whether it fits."""
    if memory is None:
        return "not known until the model's files are here", "", True
    device = memory["device"]
    has = "; what the device has is not known" if device is None else f" of the device's {device / GIB:.1f} GiB"
    word = "" if memory["fits"] else ": more than fits"
    parts = ", ".join(f"{name} {memory[name] / GIB:.2f}" for name in MEMORY_PARTS)
    again = ", activations computed again" if memory["gradient_checkpointing"] else ""
    n = memory["micro_batch"]
    at_once = f"{n} example{'' if n == 1 else 's'} at once{again}"
    if pairs := memory.get("reference_batch"):  # forecasts of earlier versions have none
        at_once += f"; before it the reference, {pairs} at once, {memory['reference'] / GIB:.2f}"
    return f"{memory['total'] / GIB:.1f} GiB{has}{word}", f"{parts}; {at_once}", bool(memory["fits"])


def adapter_words(adapter: Mapping[str, Any]) -> str:
    kind = {"lora": "LoRA", "qlora": "QLoRA"}.get(str(adapter["kind"]), str(adapter["kind"]))
    targets = adapter["target_modules"]
    on = targets.replace("-", " ") if isinstance(targets, str) else ", ".join(str(one) for one in targets)
    return f"{kind} rank {adapter['rank']}, alpha {adapter['alpha']}, dropout {adapter['dropout']:g}, {on} layers"


def settings_words(plan: Mapping[str, Any]) -> list[str]:
    """The settings in few lines, those of the adapter first."""
    own = plan["settings"]
    changed = ", ".join(f"{key} {value}" for key, value in (plan.get("changed") or {}).items())
    lines = [
        *([f"changed: {changed}"] if changed else []),
        adapter_words(plan["adapter"]),
        f"learning rate {own['learning_rate']:g} {own['schedule']}, {100 * own['warmup_share']:g} % warm-up, "
        f"weight decay {own['weight_decay']:g}, gradients clipped at {own['max_grad_norm']:g}",
        f"at most {own['max_length']} tokens{', packed' if own.get('packing') else ''}; checkpoint every "
        f"{own['checkpoint_every']} steps; "
        + (f"ends after {own['patience']} without a better held-out loss" if own["patience"] else "no early end"),
    ]
    if "beta" in own:
        when = "once before training" if own["precompute_reference"] else "at every step"
        lines.insert(-2, f"loss {own['loss']}, beta {own['beta']:g}, reference computed {when}")
    return lines


def stands_words(plan: Mapping[str, Any]) -> str:
    """Where a training of these data and settings stands: done, begun before, or new."""
    if plan["done"]:
        return "is trained already on these examples with these settings"
    stands = plan.get("stands")
    if not stands:
        return "begins anew"
    if stands["step"]:
        return f"goes on from step {count(stands['step'])} of {count(plan['steps'])}"
    return "begins anew: no checkpoint was reached before"
