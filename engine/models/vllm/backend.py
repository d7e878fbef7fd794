"""The vLLM backend: the pod's engine, used as a stream; the same code runs on a CPU.

Requests are added while others finish, so that no batch waits for its slowest member; a shared prefix is found in
vLLM's prefix cache. Log-probabilities are exact whatever a label's rank: vLLM 0.32 returns those of exactly the tokens
named by `SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=[...])`, raw, before temperature and filters.
A label of several tokens is asked for token by token, each after the true ones before it, where the labels lie close
together behind a prompt that is in the prefix cache. A long one, such as a response under its instruction, is the end
of a prompt whose own log-probabilities are asked for: one prefill, which does not read the cache. (vLLM 0.32 has
`prompt_logprob_token_ids` too, on its V2 runner alone, which its build for a CPU is without.) Text goes in as token ids
and comes out of this program's own tokenizer, as with the transformers backend.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from engine.core.errors import ModelError, first_line
from engine.models.files.source import Source
from engine.models.files.tokenizer import Text, end_ids
from engine.models.files.weights import files_of, fingerprint_of
from engine.models.requests import (
    Completion,
    Encoding,
    Generate,
    HiddenStates,
    LabelScores,
    LoraFiles,
    Read,
    Score,
    WithoutStates,
    adapter_fingerprint,
)
from engine.models.vllm.choice import vllm_version
from engine.models.vllm.engine import (
    LORA_RANKS,
    EngineDied,
    EngineProcess,
    EngineRequest,
    LoraAdapter,
    Produced,
    Settings,
)
from engine.models.vllm.labels import as_prompts, name_of, places_of, sums
from engine.models.vllm.parallel import devices, parallel_of
from engine.models.vllm.pool import EnginePool
from engine.models.vllm.process import gpu_name, visible_cores, visible_gpus
from engine.models.vllm.states import states_of

CPU_SEQUENCES = 32  # computed together
GPU_SEQUENCES = 256
AHEAD = 2  # requests with the engine for each that it computes: the next one never waits for this process

_END = object()


@dataclass
class _Open:
    """A request of a stream whose asks are not all answered."""

    request: Any
    asks: dict[str, EngineRequest]
    found: dict[str, Produced] = field(default_factory=dict)


class VllmModel(WithoutStates):
    """A causal language model in vLLM behind its streams, which may be read in turns.

    An engine process that dies is started again, and what it had not answered is asked again; if it dies a second time
    before all of that is answered, streams raise ModelError.
    """

    def __init__(
        self,
        source: Source,
        engine: EngineProcess | EnginePool,
        text: Text,
        fingerprint: str,
        facts: dict[str, Any],
        engines: int = 1,
    ) -> None:
        self.name = source.name
        self.fingerprint = self._base_fingerprint = fingerprint
        self._engine = engine
        self._text = text
        self.batch_size = engine.settings.max_num_seqs * engines
        self._bound = AHEAD * self.batch_size
        self._context = engine.max_model_len
        self.adaptable = source.name if source.embedded else source.path
        self.layers = int(engine.facts.get("layers", 0))
        self.in_use: LoraFiles | None = None
        self._adapter: LoraAdapter | None = None
        self._adapters: dict[str, LoraAdapter] = {}
        self._numbers = itertools.count(1)
        self._under_way: dict[str, tuple[int, EngineRequest]] = {}  # by name: the stream and what was asked
        self._mail: dict[int, deque[Produced]] = {}  # by stream
        self._asked_again: set[str] = set()  # of an engine that was started again, and not answered yet
        self.facts = facts | engine.facts | {"context": self._context, "base_fingerprint": fingerprint, "restarts": 0}

    @classmethod
    def load(
        cls, source: Source, *, batch_size: int | None = None, chat: bool = False, lora_rank: int = 0, slots: int = 1
    ) -> VllmModel:
        """Start vLLM with a model's own dtype for the device, on as many GPUs as `parallel_of` says. Raises ModelError.

        `batch_size` is how many requests an engine computes together. The type of quantised weights is read from the
        model's own configuration by vLLM. Adapters up to `lora_rank` are taken without a new start; no engine takes one
        above 512, so that such a rank is left to `use` to refuse. `slots` of them answer side by side.
        """
        from transformers import AutoConfig  # heavy

        path = files_of(source)
        on_gpu = torch.cuda.is_available()
        dtype = "bfloat16" if on_gpu else "float32"
        try:
            whole = AutoConfig.from_pretrained(path, trust_remote_code=False)
            quantised = bool(getattr(whole, "quantization_config", None))
            text = Text.of(path, chat=chat)
            ends = tuple(sorted(end_ids(path, text.tokenizer)))
            parallel = parallel_of(source)
            engines, share = parallel.replicas, parallel.tensor
            sequences = batch_size or (GPU_SEQUENCES if on_gpu else CPU_SEQUENCES)
            rank = lora_rank if lora_rank <= LORA_RANKS[-1] else 0
            settings = Settings(path, dtype, on_gpu, share, sequences, ends, not on_gpu, quantised, rank, slots)
            visible = visible_gpus(torch.cuda.device_count()) if on_gpu else visible_cores()
            several = devices(engines, share, visible) if engines > 1 else []
            engine = EnginePool(settings, several) if several else EngineProcess(settings)
        except ModelError:
            raise
        except Exception as error:  # of vLLM, of its libraries, of the driver: whatever it is, there is no model
            raise ModelError(
                f"vLLM could not load the model {source.name!r}: {first_line(error)}",
                "What its process said before is in the log. Check the free memory (`cai doctor`), or set "
                "CAI_BACKEND=transformers. Nothing was lost: `cai resume` goes on once it loads.",
            ) from error
        facts = {
            "backend": "vllm",
            "vllm": vllm_version(),
            "transformers": importlib.metadata.version("transformers"),
            "torch": torch.__version__,
            "device": f"{engines * share} x {gpu_name()}" if on_gpu else "cpu",
            "dtype": dtype,
            "parallel": asdict(parallel),
            "batch_size": sequences,
            "license": source.license,
        }
        return cls(source, engine, text, fingerprint_of(path, f"torch.{dtype}"), facts, engines)

    def close(self) -> None:
        """End vLLM's processes and give the device's memory back, which is waited for and checked on a GPU."""
        self._under_way.clear()
        self._engine.stop()
        if self._engine.lacking_mib:
            warnings.warn(
                f"vLLM ended, but {self._engine.lacking_mib} MiB of a GPU's memory did not come back: training may "
                "find too little. Another process may have taken it; `nvidia-smi` tells.",
                RuntimeWarning,
                stacklevel=2,
            )

    def use(self, adapter: Path | None, sha256: str = "") -> None:
        """Answer with a LoRA adapter from now on, or with the base weights alone; `sha256` is that of its files.

        An adapter of a higher rank than the engine was started for starts it again, which is told. Raises ModelError.
        """
        if adapter is None:
            self._adapter, self.fingerprint, self.in_use = None, self._base_fingerprint, None
            return
        name = sha256[:16] or adapter.name
        try:
            known = self._adapters.get(name)
            if known is None:
                rank = int(json.loads((adapter / "adapter_config.json").read_text())["r"])
                known = LoraAdapter(next(self._numbers), name, adapter.absolute(), rank)
            if known.rank > self._engine.settings.lora_rank:
                warnings.warn(
                    f"the adapter {name} has rank {known.rank}, and vLLM was started for rank "
                    f"{self._engine.settings.lora_rank}: it is started again, its weights are loaded again",
                    RuntimeWarning,
                    stacklevel=2,
                )
                self._restart(known.rank)
            self._engine.admit(known)
        except EngineDied as error:
            raise _died(error) from error
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise ModelError(
                f"the adapter in {adapter} could not be loaded: {first_line(error)}",
                "It must be a LoRA adapter of this base model. Train it again, or name another; nothing was lost.",
            ) from error
        self._adapters[name] = known
        self._adapter = known
        self.fingerprint = adapter_fingerprint(self._base_fingerprint, sha256)
        self.in_use = LoraFiles(adapter, sha256)

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        """A conversation as the model's own chat template writes it, with the answer left open and without its BOS."""
        return self._text.chat(history, prompt)

    def encoding(self, text: str) -> Encoding:
        """What the model is fed for a text."""
        return self._text.encoding(text)

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.requests.Model. Raises PromptTooLong before a request is sent."""
        return self._stream(requests)

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Log-probabilities of labels as continuations; see engine.models.requests.Model. Raises PromptTooLong."""
        return self._stream(requests)

    def together(self, requests: Iterable[Generate | Score | None]) -> Iterator[Completion | LabelScores | None]:
        """Both in one stream; see engine.models.requests.Beside. Raises PromptTooLong before a request is sent."""
        return self._stream(requests, waits=False)

    def _asks(self, request: Generate | Score | Read) -> dict[str, EngineRequest]:
        if isinstance(request, Read):
            ids = self._text.fitting(request.prompt, 1, self._context)  # vLLM writes one token behind every prompt
            return {"": EngineRequest(ids, self._adapter, layers=request.layers)}
        if isinstance(request, Generate):
            ids = self._text.fitting(request.prompt, request.decoding.max_tokens, self._context)
            return {"": EngineRequest(ids, self._adapter, request.decoding, request.seed)}
        labels = [tuple(self._text.plain(label)) for label in request.labels]
        longest = max(map(len, labels), default=0)
        ids = self._text.fitting(request.prompt, longest, self._context)
        shared = len(ids) * request.shared // max(len(request.prompt), 1)
        # vLLM writes one token behind every prompt.
        if len(ids) + longest < self._context and as_prompts(labels, len(ids), shared):
            return {
                name_of(label): EngineRequest(ids + label, self._adapter, weighed=len(label))
                for label in dict.fromkeys(labels)
            }
        return {
            place: EngineRequest(ids + before, self._adapter, labels=wanted)
            for place, (before, wanted) in places_of(labels).items()
        }

    def _answer(self, one: _Open) -> Any:
        if isinstance(one.request, Read):
            return HiddenStates(one.request, states_of(one.found[""].states, one.request.layers))
        if isinstance(one.request, Generate):
            return self._completion(one)
        labels = [tuple(self._text.plain(label)) for label in one.request.labels]
        if any(ask.weighed for ask in one.asks.values()):
            whole = [one.found[name_of(label)].of_prompt for label in labels]
            logprobs = tuple(
                sum(told[len(told) - len(label) :], start=0.0) for told, label in zip(whole, labels, strict=True)
            )
        else:
            logprobs = sums(labels, {place: found.logprobs for place, found in one.found.items()})
        return LabelScores(one.request, logprobs, tuple(map(len, labels)))

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """Hidden states of texts; see engine.models.requests.Model. Raises PromptTooLong; ModelError without layers."""
        return self._stream(requests) if self.layers else super().hidden(requests)

    def _stream(self, requests: Iterable[Any], waits: bool = True) -> Iterator[Any]:
        """Keep the engine's queue filled with this stream's requests and give each answer when it is whole.

        One that does not wait gives None where a step of the engine brought it nothing.
        """
        stream = next(self._numbers)
        mail = self._mail[stream] = deque()
        waiting, numbers = iter(requests), itertools.count()
        open_: dict[int, _Open] = {}
        names: set[str] = set()
        exhausted = False
        try:
            while True:
                while not exhausted and len(names) < self._bound:
                    request: Any = next(waiting, _END)
                    exhausted = request is _END
                    if request is _END or request is None:
                        break
                    one = _Open(request, self._asks(request))
                    number = next(numbers)
                    open_[number] = one
                    if not one.asks:
                        yield self._answer(open_.pop(number))
                    for key, ask in one.asks.items():
                        names.add(name := f"{stream}/{number}/{key}")
                        self._send(stream, name, ask)
                if not names and exhausted:
                    return
                if names and not mail:
                    self._receive()
                if not mail and not waits:
                    yield None
                while mail:
                    found = mail.popleft()
                    names.discard(found.name)
                    _, which, key = found.name.split("/", 2)
                    one = open_[int(which)]
                    one.found[key] = found
                    if len(one.found) == len(one.asks):
                        yield self._answer(open_.pop(int(which)))
        finally:
            del self._mail[stream]
            self._asked_again -= names
            for name in names:
                self._under_way.pop(name, None)
            if names:
                self._engine.abort(names)

    def _send(self, stream: int, name: str, ask: EngineRequest) -> None:
        self._under_way[name] = stream, ask
        try:
            self._engine.add(name, ask)
        except EngineDied as error:
            self._recover(error)
        except ValueError as error:
            raise ModelError(
                f"vLLM refuses a request: {first_line(error)}",
                "Change what the spec asks of the model. What was committed is safe.",
            ) from error

    def _receive(self) -> None:
        """Hand what the engine finished to the streams that asked for it."""
        try:
            finished = self._engine.step()
        except EngineDied as error:
            self._recover(error)
            return
        for found in finished:
            self._asked_again.discard(found.name)
            asked = self._under_way.pop(found.name, None)
            if asked is None:
                continue  # of a stream that was closed
            if found.reason not in ("stop", "length"):
                raise ModelError(
                    f"vLLM gave up a request ({found.reason})",
                    "The log says more. What was committed is safe: `cai resume` goes on from there.",
                )
            self._mail[asked[0]].append(found)

    def _recover(self, error: EngineDied) -> None:
        if self._asked_again:
            raise _died(error) from error
        self._asked_again = set(self._under_way)
        self.facts["restarts"] += 1
        warnings.warn(
            f"vLLM's engine process died ({error}); it is started again, and {len(self._under_way)} requests are asked "
            "again",
            RuntimeWarning,
            stacklevel=2,
        )
        self._restart()

    def _restart(self, lora_rank: int | None = None) -> None:
        """A new engine, which is asked again what the old one had not answered."""
        try:
            self._engine.restart(lora_rank)
            self._context = self._engine.max_model_len  # what the memory holds can be another amount now
            self.facts |= self._engine.facts | {"context": self._context}
            for name, (_, ask) in self._under_way.items():
                self._engine.add(name, ask)
        except EngineDied as error:
            raise _died(error) from error
        except Exception as error:
            raise ModelError(
                f"vLLM could not be started again: {first_line(error)}",
                "The log says more. What was committed is safe: `cai resume` goes on from there.",
            ) from error

    def _completion(self, one: _Open) -> Completion:
        """Cut as the transformers backend cuts: the first stop sequence in this tokenizer's text of all the tokens."""
        found = one.found[""]
        written = found.token_ids
        reason, stop, text = "length", None, ""
        if found.reason == "stop" and not isinstance(found.stop, str):
            reason, text = "eos", self._text.decode(written[:-1])
        else:
            text = self._text.decode(written)
            cuts = [(text.find(sequence), sequence) for sequence in one.request.decoding.stop if sequence in text]
            if cuts:
                at, stop = min(cuts)
                reason, text = "stop", text[:at]
            elif found.reason == "stop":  # only vLLM's text of it, which begins within the prompt, has the sequence
                reason, stop, text = "stop", str(found.stop), found.text
        return Completion(one.request, text, written, len(one.asks[""].token_ids), reason, stop)


def _died(error: EngineDied) -> ModelError:
    return ModelError(
        f"vLLM's engine process died again after it was started anew ({error})",
        "The log says more; too little memory is a usual reason (`cai doctor`). What was committed is safe: "
        "`cai resume` goes on from there.",
    )
