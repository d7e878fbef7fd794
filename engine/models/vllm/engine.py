"""vLLM's engine in its own process: asked, listened to, started and ended. Written for vLLM 0.32 and 0.33.

Its `LLMEngine` is used as a loop of add_request and step, which is what vLLM's own `LLM` does underneath: requests are
added while others are computed, and each comes back when it is finished.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

from engine.models.requests import Decoding
from engine.models.vllm.process import Processes, environment
from engine.models.vllm.states import LAYERS, NAME

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM takes (config/lora.py)
HELD_ADAPTERS = 4  # in the machine's memory; as many as `slots` are on the device
CPU_BLOCK = 32  # tokens; vLLM's 128 on a CPU would compute up to 127 tokens of a shared prefix again for each item
WORKER = "engine.models.vllm.worker.WorkerAdditions"
GREATEST_SEED = 2**63 - 1  # a generator's seed is signed, and -1 means none (sampling_params.py)


class EngineDied(Exception):
    """The engine's process is gone."""


@dataclass(frozen=True, slots=True)
class LoraAdapter:
    """A LoRA adapter: vLLM knows it by its number."""

    number: int
    name: str
    folder: Path
    rank: int


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One request to the engine: tokens to continue as `decoding` says, or to be weighed, or to be read.

    Weighed are the next token's `labels`, or the last `weighed` of the tokens themselves, each after those before it.
    Read are the hidden states behind the `layers`.
    """

    token_ids: tuple[int, ...]
    adapter: LoraAdapter | None = None
    decoding: Decoding | None = None
    seed: int = 0
    labels: tuple[int, ...] = ()
    weighed: int = 0
    layers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Produced:
    """A finished request. `reason` and `stop` are vLLM's: a stop sequence, a token's id, or None at the usual EOS.

    `of_prompt` has the log-probabilities of all tokens of a weighed prompt but its first, `states` those of a read one
    as bytes of float32, [layers, 2, size]: the last token's, and the mean over all but the first.
    """

    name: str
    token_ids: tuple[int, ...]
    reason: str
    stop: str | int | None
    text: str
    logprobs: dict[int, float]
    of_prompt: tuple[float, ...] = ()
    states: bytes = b""


@dataclass(frozen=True, slots=True)
class Settings:
    """How an engine is started. `lora_rank` 0 leaves adapters out, for a model that will answer with none.

    Requests with more adapters than `slots` wait for one another. A slot takes two bytes for rank * (inputs +
    outputs) of each linear layer off what is left for keys and values: 0.5 GiB at rank 32 of a model of 32B.

    `devices` names the GPUs or the CPU's cores that it may use, with commas; all where it is empty.
    """

    path: str
    dtype: str
    on_gpu: bool
    tensor_parallel: int
    max_num_seqs: int
    ends: tuple[int, ...]
    eager: bool
    quantised: bool = False
    lora_rank: int = 0
    slots: int = 1
    devices: str = ""


class EngineProcess:
    """The engine behind a pipe. Every call may raise EngineDied; `restart` then makes a new one that knows nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.lacking_mib = 0  # of a GPU's memory, after the last stop
        self._engine: Any = None
        self._processes: Processes | None = None
        self._params: Any = None
        self._layers = 0  # whose states can be read
        self._read: dict[str, bytes] = {}  # by name of the request: its states, once they are there
        self._start()

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together: the model's own limit, or what the memory for keys and values holds."""
        return int(self._engine.vllm_config.model_config.max_model_len)

    @property
    def facts(self) -> dict[str, Any]:
        """What the engine found out about itself when it started."""
        config = self._engine.vllm_config
        return {
            "kv_tokens": config.cache_config.kv_cache_size_tokens,
            "block_size": config.cache_config.block_size,
            "quantisation": config.model_config.quantization,
            "eager": bool(config.model_config.enforce_eager),
            "lora_rank": self.settings.lora_rank,
            "layers": self._layers,
        }

    @property
    def ready(self) -> bool:
        """Whether a step would not have to wait, be it because the engine died."""
        return self._engine is None or not self._engine.engine_core.outputs_queue.empty()

    def add(self, name: str, ask: EngineRequest) -> None:
        """Put a request beside those under way. Raises ValueError where vLLM refuses it."""
        inputs: Any = importlib.import_module("vllm.inputs")
        refused = importlib.import_module("vllm.exceptions").VLLMClientError
        with self._alive():
            try:
                self._engine.add_request(
                    name, inputs.tokens_input(list(ask.token_ids)), self._sampling(name, ask),
                    lora_request=_lora(ask.adapter),
                )  # fmt: skip
            except refused as error:
                raise ValueError(str(error)) from error
        if ask.layers:
            self._read[name] = b""

    def step(self) -> list[Produced]:
        """Wait for the engine's next step and return the requests that it finished, often none."""
        with self._alive():
            finished = [_found(output) for output in self._engine.step() if output.finished]
            if any(self._read.get(one.name) == b"" for one in finished):
                taken = self._engine.collective_rpc("take_states")[0]  # of several GPUs each has the whole
                self._read |= {name: states for name, states in taken.items() if name in self._read}
        return [replace(one, states=self._read.pop(one.name)) if one.name in self._read else one for one in finished]

    def abort(self, names: Iterable[str]) -> None:
        """Drop requests; those that are unknown or done are ignored, and so is a dead engine."""
        dropped = list(names)
        for name in dropped:
            self._read.pop(name, None)
        with contextlib.suppress(EngineDied), self._alive():
            self._engine.abort_request(dropped)

    def admit(self, adapter: LoraAdapter) -> None:
        """Load an adapter, in an engine that was started for its rank. Raises RuntimeError where it does not fit."""
        with self._alive():
            try:
                taken = self._engine.add_lora(_lora(adapter))
            except Exception as error:
                self._check()
                raise RuntimeError(str(error)) from error
            if not taken and adapter.number not in self._engine.list_loras():
                raise RuntimeError("vLLM did not take it")

    def restart(self, lora_rank: int | None = None) -> None:
        """End what is left of the engine and start another, ready for adapters of `lora_rank` where one is given."""
        self.stop()
        if lora_rank is not None:
            self.settings = replace(self.settings, lora_rank=lora_rank)
        self._start()

    def stop(self) -> None:
        """End the engine's processes and wait until they and the memory they held are gone."""
        engine, self._engine = self._engine, None
        self._read.clear()
        if engine is not None:
            with contextlib.suppress(Exception):  # what is not ended by asking is ended below
                engine.engine_core.shutdown(timeout=20.0)
                engine.renderer.shutdown()
        del engine
        gc.collect()
        if self._processes is not None:
            self.lacking_mib = self._processes.end()
            self._processes = None

    def pids(self) -> list[int]:
        """The ids of the engine's processes."""
        return self._processes.left() if self._processes is not None else []

    def _start(self) -> None:
        settings = self.settings
        self._processes = Processes()
        try:
            with self._processes.starting(environment(settings.on_gpu, settings.devices)):
                vllm: Any = importlib.import_module("vllm")
                self._params = vllm.SamplingParams
                self._kind = importlib.import_module("vllm.sampling_params").RequestOutputKind
                engine: Any = importlib.import_module("vllm.v1.engine.llm_engine")
                # As vLLM's own LLM, which takes eight times the tokens in a step that an engine gets by itself.
                usage = importlib.import_module("vllm.usage.usage_lib").UsageContext.LLM_CLASS
                arguments = vllm.EngineArgs(**_arguments(settings))
                self._engine = engine.LLMEngine.from_engine_args(arguments, usage_context=usage)
        except BaseException:
            self.stop()
            raise
        self._watch()
        self._layers = int(self._engine.collective_rpc("show_states")[0])
        if not settings.on_gpu:
            self._engine.collective_rpc("take_top_k_first")
            if settings.lora_rank:
                self._engine.collective_rpc("leave_base_alone")

    def _watch(self) -> None:
        """See to it that nobody waits for a dead engine.

        In vLLM 0.32 and 0.33 a killed engine process says nothing, and SyncMPClient.get_output and call_utility
        (v1/engine/core_client.py) go on waiting for it.
        """
        client = self._engine.engine_core
        died = importlib.import_module("vllm.v1.engine.exceptions").EngineDeadError
        sentinels = client.resources.engine_manager.sentinels()

        def wait() -> None:
            connection.wait(sentinels)
            client.resources.engine_dead = True
            client.outputs_queue.put_nowait(died())
            for future in list(client.utility_results.values()):
                with contextlib.suppress(Exception):  # answered in the meantime
                    future.set_exception(died())

        threading.Thread(target=wait, name="vllm-watch", daemon=True).start()

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        if self._engine is None:
            raise EngineDied("the engine was stopped")
        try:
            yield
        except Exception as error:
            if type(error).__name__ == "EngineDeadError":
                raise EngineDied(_ending(self._engine)) from error
            self._check()
            raise

    def _check(self) -> None:
        if self._engine.engine_core.resources.engine_dead:
            raise EngineDied(_ending(self._engine))

    def _sampling(self, name: str, ask: EngineRequest) -> Any:
        """vLLM's parameters. Its order is the door's: temperature, top-k, top-p (v1/sample/sampler.py)."""
        decoding, same = ask.decoding, {"output_kind": self._kind.FINAL_ONLY, "skip_clone": True}
        if ask.weighed:
            # 0: of the prompt's own tokens alone, whatever their rank.
            return self._params(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False, **same)
        if ask.layers:  # of a token that the prefix cache holds no state is computed
            said = {NAME: name, LAYERS: list(ask.layers)}
            whole = {"extra_args": said, "skip_reading_prefix_cache": True}
            return self._params(temperature=0.0, max_tokens=1, detokenize=False, **whole, **same)
        if decoding is None:
            labels = list(ask.labels)
            return self._params(temperature=0.0, max_tokens=1, logprob_token_ids=labels, detokenize=False, **same)
        return self._params(
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            seed=ask.seed & GREATEST_SEED if decoding.temperature > 0 else None,
            max_tokens=decoding.max_tokens,
            stop=list(decoding.stop),
            stop_token_ids=list(self.settings.ends),
            detokenize=bool(decoding.stop),
            skip_special_tokens=False,
            spaces_between_special_tokens=False,
            **same,
        )


def _arguments(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": settings.path,
        "dtype": settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel,
        "max_num_seqs": settings.max_num_seqs,
        "max_model_len": -1,  # the model's own, or less where the memory holds less
        "enable_prefix_caching": True,
        "enforce_eager": settings.eager,
        "generation_config": "vllm",  # no sampling parameters that nobody asked for
        "disable_log_stats": True,
        "seed": 0,
        "worker_extension_cls": WORKER,
    }
    if not settings.on_gpu:
        found["block_size"] = CPU_BLOCK
    elif not settings.quantised:
        # bfloat16 logits near 16 are an eighth of a nat apart, as much as some margins; a quantised head can't do this.
        found["hf_overrides"] = {"head_dtype": "float32"}
    if settings.lora_rank:
        found |= {
            "enable_lora": True,
            "max_loras": settings.slots,
            "max_cpu_loras": HELD_ADAPTERS,
            "max_lora_rank": next(rank for rank in LORA_RANKS if rank >= settings.lora_rank),
        }
    return found


def _lora(adapter: LoraAdapter | None) -> Any:
    if adapter is None:
        return None
    request: Any = importlib.import_module("vllm.lora.request").LoRARequest
    return request(adapter.name, adapter.number, str(adapter.folder))


def _found(output: Any) -> Produced:
    (one,) = output.outputs
    logprobs = {token: float(found.logprob) for token, found in one.logprobs[0].items()} if one.logprobs else {}
    ids, told = output.prompt_token_ids, output.prompt_logprobs or ()
    of_prompt = tuple(float(found[token].logprob) for token, found in zip(ids[1:], told[1:], strict=bool(told)))
    return Produced(
        output.request_id, tuple(one.token_ids), one.finish_reason, one.stop_reason, one.text or "", logprobs, of_prompt
    )


def _ending(engine: Any) -> str:
    """How the engine's process ended, as a text."""
    codes = engine.engine_core.resources.engine_manager.finished_procs().values()
    return ", ".join(f"signal {-code}" if code < 0 else f"exit code {code}" for code in codes) or "without a word"
