"""How busy a device is that computes beside the program: `python bench/overlap.py [WANTED] [SLOTS] [STEP_MS]`.

A run of the small spec through the vLLM backend, whose engine is played: it has so many sequences at once, reads a
prompt and writes a token of each in one step, and texts are as long as a seed says. Time is counted in its steps, so
that the figures are those of any machine; what the program itself takes is left out. `busy` is the share of all slots
that had work, from the first list of the first wave to the last verdict.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from common import report

import engine.models.answers
import engine.models.registry
from engine.models.files.source import Source
from engine.models.files.tokenizer import Text
from engine.models.vllm.backend import VllmModel
from engine.models.vllm.engine import EngineRequest, Produced, Settings
from engine.run.engine import open_engine
from engine.run.orders import NewRun
from engine.run.runner import Runner

VERBS = ("Explain", "Describe", "List", "Compare", "Name", "Suggest", "Define", "Outline")
BOS, EOS = 1, 2
SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[grade]", "critics.audit_items": "8",
    "responses.drafts": "1", "expected_candidates_per_accepted": "2.0",
}  # fmt: skip


class Letters:
    """Every character is a token."""

    chat_template = None
    bos_token_id, eos_token_id, pad_token_id, unk_token_id = BOS, EOS, None, None
    all_special_ids = (BOS, EOS)

    def __call__(self, text: str, add_special_tokens: bool = True, **_: Any) -> Any:
        ids = [ord(letter) + 3 for letter in text]
        return SimpleNamespace(input_ids=[BOS, *ids] if add_special_tokens else ids)

    def decode(self, ids: Any, **_: Any) -> str:
        return "".join(chr(one - 3) for one in ids if one > EOS)

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return [self.decode([one]) for one in ids] if isinstance(ids, list) else self.decode([ids])


class PlayedEngine:
    """What VllmModel asks of vLLM's engine, at the times of a device."""

    def __init__(self, slots: int, step_s: float) -> None:
        self.settings = Settings("", "float32", False, 1, slots, (EOS,), True)
        self.max_model_len, self.lacking_mib, self.facts = 1_000_000, 0, {}
        self.step_s, self.now = step_s, 0.0
        self._waiting: deque[tuple[str, EngineRequest]] = deque()
        self._running: dict[str, tuple[EngineRequest, int]] = {}  # and the steps that are left
        self._text = Text(Letters())
        self.began, self.used = 0.0, 0

    def add(self, name: str, ask: EngineRequest) -> None:
        self._waiting.append((name, ask))

    def step(self) -> list[Produced]:
        while self._waiting and len(self._running) < self.settings.max_num_seqs:
            name, ask = self._waiting.popleft()
            self._running[name] = ask, 1 if ask.decoding is None else self._length(ask)
        self.now += self.step_s
        self.used += len(self._running)
        ended = [name for name, (_, left) in self._running.items() if left == 1]
        found = [self._produced(name, self._running.pop(name)[0]) for name in ended]
        self._running = {name: (ask, left - 1) for name, (ask, left) in self._running.items()}
        return found

    def abort(self, names: Any) -> None:
        pass

    def stop(self) -> None:
        pass

    def _length(self, ask: EngineRequest) -> int:
        """Of lists two hundred tokens, of responses a few dozen, of one in ten as many as there may be."""
        rng = random.Random(ask.seed)
        most = ask.decoding.max_tokens if ask.decoding is not None else 1
        return most if rng.random() < 0.1 else min(most, int(rng.lognormvariate(4.0, 0.6)) + 8)

    def _produced(self, name: str, ask: EngineRequest) -> Produced:
        if ask.decoding is None:
            good = len(ask.labels) > 2 or len(ask.token_ids) % 8
            logprobs = {token: -0.5 if (n == 0) == bool(good) else -1.5 for n, token in enumerate(ask.labels)}
            return Produced(name, (), "length", None, "", logprobs)
        rng = random.Random(ask.seed)
        prompt = self._text.decode(ask.token_ids)
        text = f" A {_word(rng)} is older than a {_word(rng)} by {rng.randrange(9)} years.\n###"
        if "numbered list" in prompt:
            text = "\n".join(
                f"{'' if n == 11 else f'{n}.'} {rng.choice(VERBS)} how the {_word(rng)} {_word(rng)} of a {_word(rng)} "
                f"{_word(rng)} became {_word(rng)}."
                for n in range(11, 21)
            )
        return Produced(name, (*self._text.plain(text), EOS), "stop", None, text, {})


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("bdfgklmnprst") + rng.choice("aeiou") for _ in range(3))


def main() -> None:
    wanted, slots, step_ms = (int(given) for given in (*sys.argv[1:], *("512", "256", "20")[len(sys.argv) - 1 :]))
    played = PlayedEngine(slots, step_ms / 1000)
    source = Source("played", "", "", "", embedded=False)
    model = VllmModel(source, played, Text(Letters()), "played", {})  # type: ignore[arg-type]
    clock = SimpleNamespace(monotonic=lambda: played.now)
    engine.models.answers.time = clock  # type: ignore[attr-defined]
    engine.models.registry.load = lambda *_, **__: model  # type: ignore[assignment]
    Runner._guard = lambda runner: True  # type: ignore[method-assign]  # there is no model to be contaminated

    def look(event: Any) -> None:
        if event.kind == "PhaseStarted" and event.phase == "instructions" and not played.began:
            played.began, played.used = played.now, 0

    with tempfile.TemporaryDirectory() as folder:
        order = NewRun(Path(folder) / "a.duckdb", pilot=wanted // 2, until="response_judgements", overrides=SETTINGS)
        opened = open_engine(order, look)
        opened.start()
        opened.join()
        rows = {
            name: opened.store.reader().query(f"SELECT count(*) AS n FROM {name}")[0]["n"]
            for name in ("instructions", "samples", "verdicts", "completions", "scores")
        }
        outcome = opened.outcome
        opened.close()
    seconds = played.now - played.began
    report(
        benchmark="overlap", wanted=wanted, slots=slots, step_ms=step_ms, state=outcome.state if outcome else None,
        rows=rows, seconds=round(seconds, 1), busy=round(played.used * played.step_s / (seconds * slots), 3),
    )  # fmt: skip


if __name__ == "__main__":
    main()
