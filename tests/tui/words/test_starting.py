"""What a start would take, in lines that a person can read."""

from typing import Any

from tui.words.starting import start_lines

GIB = 2**30
ENGINES = {
    "replicas": 2,
    "tensor": 1,
    "weights": 61 * GIB,
    "room": 73 * GIB,
    "cached": 26_800,
    "fits": True,
    "reason": "",
}
SFT = {"method": "sft", "micro_batch": 4, "total": 66 * GIB, "fits": True}
PART = {"examples": 200, "hours": 0.4, "usd": 1.2, "rate": "prior"}
FOUND: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-32B", "device": "H100", "gpus": 2, "memory": 80 * GIB, "free": 79 * GIB, "inference": ENGINES,
    "training": [SFT, SFT | {"method": "dpo", "fits": False, "total": 91 * GIB}],
    "pilot": PART, "target": PART | {"examples": 15_000, "hours": 12.4, "usd": 37.0}, "reason": None,
}  # fmt: skip


def told(**changed: Any) -> list[str]:
    return [f"{label}: {text}" for label, text, _ in start_lines(FOUND | changed)]


def test_model_training_and_cost_are_a_line_each() -> None:
    assert told() == [
        "model: Qwen/Qwen2.5-32B on 2 x H100: 2 engines, weights 61.0 of 73.0 GiB, cache 26,800 tokens",
        "training: SFT 4 at once in 66.0 GiB; DPO does not fit, 91.0 GiB for one example",
        "takes: pilot of 200: 24.0 min, $1.20; 15,000: 12.40 h, $37.00 (priors)",
    ]
    assert [bad for *_, bad in start_lines(FOUND)] == [False, True, False]
    assert (
        told(target=PART | {"hours": 0.6})[2]
        == "takes: pilot of 200: 24.0 min, $1.20; trained: 36.0 min, $1.20 (priors)"
    )


def test_a_processor_says_what_is_free_and_no_dollars_where_no_price_is_known() -> None:
    cpu = {"device": "CPU", "gpus": 0, "inference": {"weights": GIB, "fits": True}, "training": [], "free": 22 * GIB}
    no_price = PART | {"usd": None}
    assert told(**cpu, pilot=no_price, target=no_price) == [
        "model: Qwen/Qwen2.5-32B on the CPU: weights 1.0 GiB, 22.0 GiB are free",
        "takes: pilot of 200: 24.0 min (priors)",
    ]
    cpu["inference"] = {"weights": 61 * GIB, "fits": False}
    assert start_lines(FOUND | cpu)[0][2] and told(**cpu)[0].endswith("22.0 GiB are free: it does not fit")


def test_what_is_not_known_is_said() -> None:
    assert start_lines(None) == [("model", "looked up in a moment", False)]
    assert start_lines({"reason": "no model 'x'. Name one."}) == [("model", "no model 'x'. Name one.", True)]
    lines = told(inference=None, training=[], target=None, reason="no rate of NVIDIA Quadro is known", gpus=1)
    assert lines[0].endswith("its memory is known once its files are here")
    assert lines[1] == "takes: not known: no rate of NVIDIA Quadro is known"
