"""Every backend against the one contract, with the embedded base model's real numbers.

The openai backend stands before a real `vllm serve` and before a server of this repository's own with the same model
(tests/engine/models/real_server.py says why), once with vLLM's fields and once with OpenAI's alone. What needs vLLM is run where
it is installed: `make test-vllm`.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from engine.models.checkpoints import tree_sha256
from engine.models.files.source import resolve
from engine.models.local.backend import TransformersModel
from engine.models.registry import load
from engine.models.requests import Decoding, Generate, Model
from tests.engine.models import real_server
from tests.engine.models.conformance import CHECKS, Case, Check

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.xdist_group("model")]

WITH_VLLM = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm")
BACKENDS = [
    "transformers", "openai", "openai-plain",
    pytest.param("vllm-serve", marks=WITH_VLLM), pytest.param("vllm", marks=WITH_VLLM),
]  # fmt: skip
ENDS = Generate("</body>\n</html>", Decoding(12), 0)  # greedily: a line end, then the EOS


@pytest.fixture(scope="module")
def plain(request: pytest.FixtureRequest) -> Iterator[TransformersModel]:
    """The reference: float32 on the CPU."""
    if importlib.util.find_spec("vllm") is None:
        yield request.getfixturevalue("base_model")
        return
    model = TransformersModel.load(resolve(None), batch_size=8)
    yield model
    model.close()


@pytest.fixture(scope="module")
def logprob(plain: TransformersModel) -> Callable[[str, str], float]:
    """The reference's log-probability of a label behind a prompt, computed once for all backends."""
    return functools.cache(functools.partial(real_server.reference, plain))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """An adapter of the embedded model with weights that change its answers."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from engine.models.files.embedded import GEMMA, ensure

    folder = tmp_path_factory.mktemp("conformance") / "adapter"
    model = AutoModelForCausalLM.from_pretrained(ensure(GEMMA), dtype=torch.float32)
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"]))
    torch.manual_seed(0)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:  # which begins at zero
            torch.nn.init.normal_(weights, std=0.02)
    adapted.save_pretrained(str(folder))
    return folder, tree_sha256(folder)


@pytest.fixture(scope="module", params=BACKENDS)
def backend(
    request: pytest.FixtureRequest,
    plain: TransformersModel,
    logprob: Callable[[str, str], float],
    adapter: tuple[Path, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Model, Case]]:
    same, near = Case(logprob, 2e-3, adapter, ENDS), Case(logprob, 1e-2, adapter, ENDS, same_text=False)
    with ExitStack() as stack:
        if request.param == "transformers":
            yield plain, same
            return
        if request.param == "vllm":
            from engine.models.vllm.backend import VllmModel

            model: Model = VllmModel.load(resolve(None), batch_size=8)
        elif request.param == "vllm-serve":
            from tests.engine.models.vllm import served_vllm

            log = tmp_path_factory.mktemp("served") / "vllm.log"
            model = load(stack.enter_context(served_vllm.serving(log)), batch_size=4)
        else:
            server = stack.enter_context(real_server.serving(plain, extensions=request.param == "openai"))
            model = load(server.url, batch_size=2)
        stack.callback(model.close)
        if request.param == "openai-plain":
            yield model, Case(logprob, 2e-3, adapter, ENDS, top_k=0)
        else:
            yield model, same if request.param == "openai" else near


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract(backend: tuple[Model, Case], check: Check, request: pytest.FixtureRequest) -> None:
    model, case = backend
    if "openai-plain" in request.node.callspec.id and "label" not in check.__name__ and "score" not in check.__name__:
        pytest.skip("left out for time: what a plain server does otherwise most of all is scoring labels")
    check(model, case)
