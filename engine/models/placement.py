"""What an engine for inference takes of a GPU's memory, and how many GPUs can share it."""

from __future__ import annotations

from dataclasses import dataclass

USED = 0.92  # of a GPU's memory: vLLM's own share (config/cache.py, gpu_memory_utilization)
WORKING_BYTES = 3 * 10**9  # activations of a prefill of 16,384 tokens, logits of 256 sequences, CUDA graphs
CACHE_TOKENS = 16_384  # that a cache should hold at least: 64 sequences of 256 tokens behind shared beginnings


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of an engine's weights, and of the keys and values of a token, with what a share of them must divide."""

    weights: int
    token: int
    heads: int
    shared: int  # key-value heads
    inner: int

    def divides(self, share: int) -> bool:
        """Whether as many GPUs can share it. Key-value heads are divided or, where there are fewer, repeated."""
        repeated = self.shared % share == 0 or share % self.shared == 0
        return self.heads % share == 0 and repeated and self.inner % share == 0

    def on_each(self, share: int) -> int:
        """Bytes on each of the GPUs that share it, with room for the least cache."""
        cache = self.token * CACHE_TOKENS // min(share, self.shared)
        return self.weights // share + cache + WORKING_BYTES
