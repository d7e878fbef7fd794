"""A server of a base model whose every answer is known, so that a whole run of the real program takes seconds."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.models.requests import Decoding, Generate
from engine.models.served.checks import PROMPT
from engine.quality.guard import KNOWN_ANSWERS
from tests.engine.models.model_server import BOS, Handler, Server, good, id_of, serving, text_of, tokens_of
from tests.engine.phases.test_preferences import SIDES, Critical

RIGHT = {prompt: right for prompt, right, _ in KNOWN_ANSWERS}
FIRST = (" good", " Yes", " A")  # the label of two that stands for what is good, or for what is in front
MODEL = Critical()


class Playing:
    """Counts what a run asks its model for, the checks of a server excluded."""

    def __init__(self, server: Server) -> None:
        self.name = server.url
        self._asked = 0
        self._lock = threading.Lock()
        server.always = self._answer

    @property
    def asked(self) -> int:
        """How many texts and grades were asked for so far."""
        return self._asked

    def _answer(self, handler: Handler) -> None:
        body = handler.body
        scored = "logprob_token_ids" in body or "echo" in body
        if body["prompt"] == PROMPT and not scored:  # how it decodes is looked at with the toy's own answers
            good(handler)
            return
        if not body.get("echo"):
            with self._lock:
                self._asked += 1
        choice = _scored(body) if scored else _written(body)
        usage = {"prompt_tokens": choice.pop("fed"), "completion_tokens": len(choice["token_ids"])}
        handler.send(200, json.dumps({"id": "1", "object": "text_completion", "choices": [choice], "usage": usage}))


@contextmanager
def playing() -> Iterator[Playing]:
    """A server in threads of this process, which outlives every process that asks it."""
    with serving() as server:
        yield Playing(server)


def logprob(before: str, token: str) -> float:
    """What the model says of a label: known answers are known, a text that begins with "Really" is preferred."""
    if before in RIGHT:
        return -0.5 if token in RIGHT[before] else -3.0
    item = before.rsplit("\n\n", 1)[-1]
    sides = SIDES.search(item)
    if sides is not None:
        first, second = ("Really" in side for side in sides.groups())
        margin = MODEL.bias + MODEL.taste * (first - second)
    else:
        margin = (1.0 if len(item) % 2 == 0 else -1.0) + ("Answer: Really" in item)
    return (margin if token in FIRST else -margin) / 2 - 2


def _scored(body: dict[str, Any]) -> dict[str, Any]:
    """A label as the end of a prompt, or labels as the next token by their ids."""
    prompt, choice = body["prompt"], {"index": 0, "text": ".", "finish_reason": "length", "token_ids": [id_of(".")]}
    if not body.get("echo"):
        told = {f"token_id:{one}": logprob(prompt, text_of(one)) for one in body["logprob_token_ids"]}
        return choice | {"logprobs": {"top_logprobs": [told]}, "fed": 1}
    fed = [BOS, *tokens_of(prompt)]
    values = [None, *[-1.0] * (len(fed) - 2), logprob(prompt.removesuffix(fed[-1]), fed[-1])]
    logprobs = {"tokens": fed, "token_logprobs": values}
    return choice | {"logprobs": logprobs, "prompt_token_ids": list(map(id_of, fed)), "fed": len(fed)}


def _written(body: dict[str, Any]) -> dict[str, Any]:
    """The text that the model of the unit tests writes under this prompt and seed."""
    stops = body.get("stop") or []
    done = next(MODEL.generate([Generate(body["prompt"], Decoding(body["max_tokens"]), body["seed"])]))
    finish, stop, n = "length", None, body["max_tokens"]
    if done.stop_reason == "eos":
        finish, n = "stop", len(done.token_ids)
    elif done.stop_reason == "stop" and stops:
        finish, n = "stop", len(done.token_ids)
        stop = done.stop_text if done.stop_text in stops else stops[0]
    choice = {"index": 0, "text": done.text, "finish_reason": finish, "stop_reason": stop, "logprobs": None}
    return choice | {"token_ids": list(range(10, 10 + n)), "fed": len(body["prompt"]) // 4 + 1}
