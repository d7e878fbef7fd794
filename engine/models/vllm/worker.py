"""What is added to vLLM's worker process. Imported there, by name; this side of the door never imports it."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from engine.models.vllm.states import ShowsStates


class WorkerAdditions(ShowsStates):
    """Mixed into vLLM's worker class (`worker_extension_cls`); its methods are called there by name."""

    def take_top_k_first(self) -> bool:
        """Filter by top-k before top-p; False where vLLM has a kernel that sorts nothing (a GPU's, in Triton).

        vLLM 0.32 sorts the whole vocabulary where both filters are on and it has no Triton
        (v1/sample/ops/topk_topp_sampler.py, apply_top_k_top_p_pytorch): the main cost of a step over 262k tokens.
        """
        ops: Any = importlib.import_module("vllm.v1.sample.ops.topk_topp_sampler")
        if ops.HAS_TRITON:
            return False
        whole = ops.apply_top_k_top_p

        def filtered(logits: Any, k: Any, p: Any) -> Any:
            return whole(logits, k, p) if k is None or p is None else top_k_then_top_p(logits, k, p)

        ops.apply_top_k_top_p = filtered
        return True

    def leave_base_alone(self) -> None:
        """On a CPU, let no adapter change a request that names none, as a GPU's kernels do by themselves.

        In vLLM 0.32 on a CPU such a request, computed in one step with one that names an adapter, takes the adapter of
        the last slot: its index, -1, is read as the last row (lora/ops/torch_ops/lora_ops.py). 0.33 leaves it out.
        """
        ops: Any = importlib.import_module("vllm.lora.ops.torch_ops.lora_ops")
        wrapper: Any = importlib.import_module("vllm.lora.punica_wrapper.punica_cpu")
        whole = ops.bgmv_shrink

        def shrunk(given: Any, weights: Any, found: Any, indices: Any, scaling: float = 1.0) -> None:
            whole(given, weights, found, indices, scaling)
            found[indices < 0] = 0  # what the second matrix makes of it is added to the base's own

        ops.bgmv_shrink = wrapper.bgmv_shrink = shrunk


def top_k_then_top_p(logits: torch.Tensor, k: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Logits ([rows, vocabulary]) with all but each row's nucleus at minus infinity; `k` and `p` are [rows].

    The nucleus is the smallest set of the k likeliest tokens whose mass among them reaches p (Holtzman et al. 2020,
    arXiv 1904.09751, section 3.1). A row whose k is the vocabulary's size has no top-k filter: its tokens are sorted.
    """
    rows, vocabulary = logits.shape
    kept = torch.full_like(logits, -torch.inf)
    unfiltered = k >= vocabulary
    for some in (unfiltered, ~unfiltered):
        picked = some.nonzero().squeeze(1)
        if len(picked):
            part = logits if len(picked) == rows else logits[picked]
            widest = int(k[picked].clamp(max=vocabulary).max())
            values, ids = part.topk(widest, dim=1)
            places = torch.arange(widest, device=logits.device)
            values = values.masked_fill(places >= k[picked, None], -torch.inf)
            mass = values.softmax(dim=1, dtype=torch.float32)
            before = mass.cumsum(dim=1) - mass
            bound = p[picked, None]
            out = (before >= bound) & (bound < 1) & (places > 0)
            values = values.masked_fill(out, -torch.inf)
            kept[picked] = torch.full_like(part, -torch.inf).scatter_(1, ids, values)
    return kept
