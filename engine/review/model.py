"""A model as the reviewer, behind the Responses API or any server that speaks chat completions."""

from __future__ import annotations

import functools
import json
import queue
import random
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from engine.core import retry
from engine.core.errors import Interrupted, ReviewError
from engine.core.key import Key
from engine.core.text import flat
from engine.models.addresses import is_local
from engine.review.reviewers import Answer, Failure, Request, Unanswered

OPENAI = "https://api.openai.com/v1"
ALIKE_AT_MOST = 3  # questions in a row that ended alike before the server is left alone for a while
LEFT_ALONE_S = 600.0
CONNECT_S = 15.0
_LOOK_EVERY_S = 0.05
Effort = Literal["minimal", "low", "medium", "high"] | None
_PERMANENT = {400: "bad_request", 401: "auth", 403: "auth", 404: "not_found", 413: "too_long", 422: "bad_request"}


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model is asked, and where. `timeout_s` is for one try in all, from connecting to the last byte.

    `effort` is the reasoning effort, sent where it is given. `structured` asks the server to keep to the schema; a chat
    server that refuses it is asked without.
    """

    model: str = "gpt-5"
    effort: Effort = "high"
    base_url: str = OPENAI
    api: Literal["responses", "chat"] = "responses"
    timeout_s: float = 600.0
    structured: bool = True
    output_tokens: int = 16_000  # of a reasoning model most are thoughts

    def __post_init__(self) -> None:
        found = urllib.parse.urlsplit(self.base_url)
        if found.scheme not in ("http", "https") or not found.hostname or found.username or found.password:
            raise ReviewError(
                "the reviewer's address is none: http or https, a host, and no name or password are wanted",
                "Correct its base URL. Nothing was sent.",
            )
        if self.model in ("", "person", "policy", "nobody", "engine") or self.timeout_s <= 0:
            raise ReviewError("a reviewer needs the name of a model and a timeout above 0", "Nothing was sent.")

    @property
    def local(self) -> bool:
        """Whether the server is on this machine."""
        return is_local(self.base_url)


class _Failed(Exception):
    """One try that brought nothing; `again_s` is how long the server wants to be left, None where it said nothing."""

    def __init__(self, kind: str, text: str, *, again: bool, again_s: float | None = None) -> None:
        super().__init__(kind)
        self.kind, self.text, self.again, self.again_s = kind, text, again, again_s


class ModelReviewer:
    """Asks a model. Whatever goes wrong on the way is said in an Unanswered, never raised, but for a stop.

    A key is never sent over http to another machine (ReviewError); a server on this machine needs none. `sleep`,
    `clock` and `rng` are there for tests.
    """

    kind = "model"

    def __init__(
        self,
        settings: ModelSettings,
        key: Key | None,
        *,
        stopped: Callable[[], bool] = lambda: False,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: random.Random | None = None,
    ) -> None:
        if key is not None and not settings.local and settings.base_url.startswith("http:"):
            raise ReviewError(
                "the key would travel to another machine in clear text",
                "Use https, or a tunnel to this machine. Nothing was sent.",
            )
        self.settings = settings
        self.key = key
        self.name = settings.model
        self._stopped = stopped
        self._sleep = sleep or self._wait_for
        self._clock = clock
        self._rng = rng or random.Random()
        self._structured = settings.structured
        self._alike: tuple[str, int] = ("", 0)
        self._alone_until: datetime | None = None
        if key is not None:
            key.watch_logs()

    def ask(self, request: Request) -> Answer | Unanswered:
        """The model's answer, whatever it is worth, after at most four tries. Raises Interrupted on a stop."""
        if self.key is None and not self.settings.local:
            return Unanswered(Failure("no_key", "there is no key for the reviewer's server"))
        if self._alone_until is not None and self._clock() < self._alone_until:
            text = f"the server failed {ALIKE_AT_MOST} times alike ({self._alike[0]}) and is left alone for a while"
            return Unanswered(Failure("left_alone", text))
        for tried in range(1, retry.TRIES + 1):
            self._check()
            try:
                answer = self._try(request)
            except _Failed as failed:
                wait = self._wait(failed, tried)
                if wait is None:
                    return self._gave_up(failed)
                request.on_failure(Failure(failed.kind, failed.text, wait))
                self._sleep(wait)
                continue
            self._alike, self._alone_until = ("", 0), None
            return answer
        raise AssertionError("the last try either answers or gives up")

    def _check(self) -> None:
        if self._stopped():
            raise Interrupted("the run was stopped", "The question is asked again: `cai resume`.")

    def _wait_for(self, seconds: float) -> None:
        """Wait that long. Raises Interrupted as soon as the run is stopped."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, _LOOK_EVERY_S))
        self._check()

    def _wait(self, failed: _Failed, tried: int) -> float | None:
        """Seconds until the next try, None where there is none."""
        if not failed.again or tried == retry.TRIES:
            return None
        if failed.again_s is not None and failed.again_s > retry.LONGEST_ASKED_S:
            return None
        return retry.backoff(tried, self._rng) if failed.again_s is None else failed.again_s

    def _gave_up(self, failed: _Failed) -> Unanswered:
        same = self._alike[1] + 1 if self._alike[0] == failed.kind else 1
        self._alike = (failed.kind, same)
        if same >= ALIKE_AT_MOST:
            self._alone_until = self._clock() + timedelta(seconds=LEFT_ALONE_S)
        return Unanswered(Failure(failed.kind, failed.text))

    def _try(self, request: Request) -> Answer:
        """One try in a thread of its own, so that neither a stop nor the time limit waits for the server."""
        came: queue.SimpleQueue[Answer | _Failed] = queue.SimpleQueue()
        client = self._client()
        began = time.monotonic()

        def work() -> None:
            try:
                came.put(self._send(client, request))
            except _Failed as failed:
                came.put(failed)
            except BaseException as error:
                came.put(self._failure(error))

        thread = threading.Thread(target=work, name="reviewer", daemon=True)
        try:
            thread.start()
            while True:
                try:
                    found = came.get(timeout=_LOOK_EVERY_S)
                    break
                except queue.Empty:
                    self._check()
                if time.monotonic() - began > self.settings.timeout_s:
                    found = _Failed("timeout", f"no answer within {self.settings.timeout_s:g} s", again=True)
                    break
        finally:
            client.close()
        if isinstance(found, _Failed):
            raise found
        return found

    def _client(self) -> Any:
        import openai

        return openai.OpenAI(
            api_key=self.key.reveal() if self.key is not None else "none",
            base_url=self.settings.base_url,
            max_retries=0,
            http_client=_http_client(self.settings.timeout_s),
        )

    def _send(self, client: Any, request: Request) -> Answer:
        if self.settings.api == "responses":
            return read_response(self._loaded(client.responses.with_raw_response.create(**self._responses(request))))
        try:
            raw = client.chat.completions.with_raw_response.create(**self._chat(request))
        except Exception as error:
            # Servers that know no schema say so in words of their own; the prompt asks for JSON in any case.
            if not self._structured or getattr(error, "status_code", 0) not in (400, 422):
                raise
            self._structured = False
            raw = client.chat.completions.with_raw_response.create(**self._chat(request))
        return read_chat(self._loaded(raw))

    def _responses(self, request: Request) -> dict[str, Any]:
        turns = [{"role": role, "content": text} for role, text in (("user", request.prompt), *request.turns)]
        sent: dict[str, Any] = {
            "model": self.settings.model,
            "instructions": request.instructions,
            "input": turns,
            "max_output_tokens": self.settings.output_tokens,
            "store": False,
        }
        if self.settings.effort is not None:
            sent["reasoning"] = {"effort": self.settings.effort}
        if self._structured:
            schema = {"type": "json_schema", "name": "review", "schema": dict(request.schema), "strict": True}
            sent["text"] = {"format": schema}
        return sent

    def _chat(self, request: Request) -> dict[str, Any]:
        turns = (("system", request.instructions), ("user", request.prompt), *request.turns)
        sent: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [{"role": role, "content": text} for role, text in turns],
            "max_completion_tokens": self.settings.output_tokens,
        }
        if not self._structured:
            sent["max_tokens"] = sent.pop("max_completion_tokens")
        else:
            schema = {"name": "review", "schema": dict(request.schema), "strict": True}
            sent["response_format"] = {"type": "json_schema", "json_schema": schema}
            if self.settings.effort is not None:
                sent["reasoning_effort"] = self.settings.effort
        return sent

    def _loaded(self, raw: Any) -> dict[str, Any]:
        try:
            found = json.loads(self._scrub(raw.text))
        except (ValueError, RecursionError):
            raise _Failed("unreadable", "what the server sent is not JSON", again=True) from None
        if not isinstance(found, dict):
            raise _Failed("unreadable", "what the server sent is no object", again=True)
        return found

    def _scrub(self, text: str) -> str:
        return text if self.key is None else self.key.scrub(text)

    def _failure(self, error: BaseException) -> _Failed:
        """An error of the client in our own words: neither it nor anything it holds goes further."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return _Failed("timeout", f"no answer within {self.settings.timeout_s:g} s", again=True)
        if isinstance(error, openai.APIConnectionError):
            cause = type(error.__cause__).__name__ if error.__cause__ is not None else "connection error"
            return _Failed("connection", f"the connection failed ({cause})", again=True)
        if isinstance(error, openai.APIStatusError):
            return self._status(error)
        return _Failed("unexpected", f"the client failed ({type(error).__name__})", again=False)

    def _status(self, error: Any) -> _Failed:
        code = int(error.status_code)
        said = flat(self._scrub(str(error.message)), 200)
        if code == 429:
            body = error.body if isinstance(error.body, dict) else {}
            if body.get("code") == "insufficient_quota":
                return _Failed("quota", "the account has no credit left", again=False)
            wait = retry.retry_after(error.response.headers.get("retry-after"), self._clock())
            return _Failed("rate_limit", "the server limits how often it is asked (429)", again=True, again_s=wait)
        if code in _PERMANENT:
            return _Failed(_PERMANENT[code], f"the server refused the request ({code}): {said}", again=False)
        if code in (408, 409) or code >= 500:
            wait = retry.retry_after(error.response.headers.get("retry-after"), self._clock())
            return _Failed("server", f"the server failed ({code})", again=True, again_s=wait)
        return _Failed("status", f"the server answered with {code}: {said}", again=False)


def _http_client(timeout_s: float) -> Any:
    """A client that follows no redirect, which could lead the key elsewhere."""
    import httpx2

    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S))
    return httpx2.Client(follow_redirects=False, timeout=timeout, verify=_certificates())


@functools.cache
def _certificates() -> Any:
    """The machine's trusted certificates: reading them takes as long as a hundred requests."""
    import httpx2

    return httpx2.create_ssl_context()


def read_response(body: dict[str, Any]) -> Answer:
    """The answer in a body of the Responses API."""
    facts = _facts(body, "input_tokens", "output_tokens")
    texts, refused = [], ""
    for item in _list(body.get("output")):
        if item.get("type") != "message" or item.get("phase") not in (None, "final_answer"):
            continue
        if item.get("role") != "assistant":
            return Answer("", problem="it is not the assistant's", facts=facts)
        for part in _list(item.get("content")):
            if part.get("type") == "refusal":
                refused = str(part.get("refusal"))
            elif part.get("type") == "output_text" and isinstance(part.get("text"), str):
                texts.append(part["text"])
    text = "\n".join(texts)
    if refused:
        return Answer(refused, problem="the reviewer refused to answer", facts=facts)
    if body.get("status") == "failed" or body.get("error"):
        raise _Failed("server", "the server reports that it failed", again=True)
    problem = "" if len(texts) == 1 else f"it has {len(texts)} texts, and one is wanted"
    return Answer(text, problem=problem if body.get("status") == "completed" else "it was cut off", facts=facts)


def read_chat(body: dict[str, Any]) -> Answer:
    """The answer in a body of chat completions."""
    facts = _facts(body, "prompt_tokens", "completion_tokens")
    choices = _list(body.get("choices"))
    if body.get("error"):
        raise _Failed("server", "the server reports that it failed", again=True)
    if len(choices) != 1:
        return Answer("", problem=f"it has {len(choices)} choices, and one is wanted", facts=facts)
    message, ended = choices[0].get("message"), choices[0].get("finish_reason")
    message = message if isinstance(message, dict) else {}
    text = message["content"] if isinstance(message.get("content"), str) else ""
    problem = "" if message.get("role") == "assistant" else "it is not the assistant's"
    if message.get("refusal"):
        text, problem = str(message["refusal"]), "the reviewer refused to answer"
    elif ended != "stop":
        problem = "the server's filter stopped it" if ended == "content_filter" else "it was cut off"
    return Answer(text, problem=problem, facts=facts)


def _facts(body: dict[str, Any], taken: str, given: str) -> dict[str, Any]:
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    facts = {"model": body.get("model"), "id": body.get("id")}
    counts = {"input_tokens": usage.get(taken), "output_tokens": usage.get(given)}
    return {name: flat(value, 120) for name, value in facts.items() if isinstance(value, str)} | {
        name: value for name, value in counts.items() if isinstance(value, int)
    }


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
