"""Is this machine fit for a run? Each doubtful part is tried in a child process with a time limit.

Importing a library can hang (a driver that does not answer, a folder on a dead network disk) or end the process, so
nothing of the kind is imported here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from engine.core import extras
from engine.core.memory import total_and_free
from engine.models.files.embedded import GEMMA, MODELS, cache_root, is_converted

State = Literal["ok", "absent", "warning", "failed", "hung"]

NEEDED = ("duckdb", "pyarrow", "textual")  # without these the program does not work at all
OPTIONAL = ("torch", "transformers", "datasets", "trl", "peft", "bitsandbytes", "unsloth", "vllm", "openai")
FOR_A_GPU = ("bitsandbytes", "unsloth", "vllm")  # some of which refuse to be imported without one
TIME_LIMIT_S = 60.0
AT_ONCE = 2  # children; each import of a model library wants a core
LOW_DISK_BYTES = 2 * 2**30
LOW_MEMORY_BYTES = 3 * 2**30  # the embedded model in float32 with its conversion peaks at about 2 GiB

# The answer goes to a file of its own: what the library prints must not get mixed with it.
_IMPORT = """
import importlib, json, sys
name, answer = sys.argv[1:3]
try:
    module = importlib.import_module(name)
except ModuleNotFoundError as error:
    found = {"state": "absent" if error.name == name else "failed", "detail": str(error)}
except BaseException as error:
    found = {"state": "failed", "detail": f"{type(error).__name__}: {error}"}
else:
    found = {"state": "ok", "detail": str(getattr(module, "__version__", ""))}
with open(answer, "w") as file:
    json.dump(found, file)
"""
_CUDA = """
import json, sys
try:
    import torch
except ModuleNotFoundError:
    found = {"state": "absent", "detail": "torch is not installed"}
else:
    if torch.cuda.is_available():
        names = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            names.append(f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free")
        torch.ones(8, device="cuda").sum().item()
        found = {"state": "ok", "detail": "; ".join(names)}
    else:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        found = {"state": "absent", "detail": f"torch sees no GPU ({built}): models run on the CPU"}
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried; `detail` says what was found, `elapsed_s` how long it took."""

    name: str
    state: State
    detail: str
    elapsed_s: float


def examine(
    store: Path,
    *,
    needed: Sequence[str] = NEEDED,
    optional: Sequence[str] = OPTIONAL,
    time_limit_s: float = TIME_LIMIT_S,
) -> dict[str, Any]:
    """Try everything that a run needs: {healthy, checks: [{name, state, detail, elapsed_s}], fix}.

    `healthy` is False where something failed or hung; an optional library that is absent is no fault. `fix` is the one
    command that installs what is missing for training, None where nothing is.
    """
    children = _Children(time_limit_s)
    work: list[tuple[str, Callable[[], tuple[State, str]]]] = [
        ("python", _python),
        ("memory", memory),
        ("disk of the store", lambda: _disk(store)),
        ("disk of the cache", lambda: _disk(cache_root())),
        ("writing beside the store", lambda: _writing(store.parent)),
        ("writing to the cache", lambda: _writing(cache_root())),
        ("embedded model", _embedded),
        ("nvidia-smi", children.nvidia_smi),
        ("torch.cuda", lambda: children.answer(_CUDA, "torch.cuda")),
        *((name, partial(children.library, name, must=name in needed)) for name in (*needed, *optional)),
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            checks = list(pool.map(lambda item: _timed(*item), work))
        except BaseException:  # a person does not wait for a library that hangs
            pool.shutdown(wait=False, cancel_futures=True)
            children.give_up()
            raise
    on_gpu = any(check.state == "ok" for check in checks if check.name in ("nvidia-smi", "torch.cuda"))
    checks = _by_device(checks, on_gpu)
    extra = "pod" if on_gpu else "local"
    pins = extras.pins(extra)
    fits = extras.fit(extra, pins)
    checks.append(_timed(f"the extra {extra}", lambda: _libraries(extra, len(pins), fits)))
    healthy = not any(check.state in ("failed", "hung") for check in checks)
    return {"healthy": healthy, "checks": [asdict(check) for check in checks], "fix": fits.command or None}


def _by_device(checks: Sequence[Finding], on_gpu: bool) -> list[Finding]:
    """The checks, with what only all of them together tell."""
    found = []
    for check in checks:
        if not on_gpu and check.name in FOR_A_GPU and check.state == "failed":
            check = replace(check, state="warning", detail=f"not usable without a GPU, nor needed: {check.detail}")
        elif on_gpu and check.name == "torch.cuda" and check.state == "absent" and "built for CUDA" in check.detail:
            more = "nvidia-smi sees one: its driver may be too old for that CUDA, or CUDA_VISIBLE_DEVICES hides it"
            check = replace(check, state="warning", detail=f"{check.detail}; {more}")
        found.append(check)
    return found


def _libraries(extra: str, count: int, fits: extras.Fit) -> tuple[State, str]:
    """What training (and, on a GPU, vLLM) needs, against the versions that belong together."""
    if not count:
        return "warning", "nothing here says which versions belong together: install the program from its sources"
    if not fits.command:
        return "ok", f"all {count} packages are there in the versions that belong together"
    what = [f"not installed: {', '.join(fits.missing)}"] if fits.missing else []
    # The command stands first: a table cuts a long text at its end.
    return ("warning" if fits.differing else "absent"), f"run `{fits.command}`: {'; '.join(what + fits.differing)}"


def _timed(name: str, probe: Callable[[], tuple[State, str]]) -> Finding:
    began = time.monotonic()
    try:
        state, detail = probe()
    except Exception as error:  # a check that breaks is a finding, and the others still count
        state, detail = "failed", f"{type(error).__name__}: {error}"
    return Finding(name, state, detail, round(time.monotonic() - began, 3))


def _python() -> tuple[State, str]:
    fits = (3, 11) <= sys.version_info[:2] < (3, 13)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    detail = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}, {cores} cores"
    return ("ok", detail) if fits else ("failed", f"{detail}; the program needs Python 3.11 or 3.12")


def memory() -> tuple[State, str]:
    """How much of the machine's or the container's memory is free."""
    total, free = total_and_free()
    detail = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if free < LOW_MEMORY_BYTES:
        return "warning", f"{detail}; the embedded model needs about 3 GiB"
    return "ok", detail


def _disk(path: Path) -> tuple[State, str]:
    place = _existing(path)
    free = shutil.disk_usage(place).free
    detail = f"{free / 2**30:.1f} GiB free at {place}"
    return ("ok", detail) if free >= LOW_DISK_BYTES else ("warning", f"{detail}; 2 GiB are wanted")


def _writing(folder: Path) -> tuple[State, str]:
    place = _existing(folder)
    with tempfile.NamedTemporaryFile(dir=place, prefix=".cai-doctor-") as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    return "ok", f"a file was written to {place}, and removed"


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _embedded() -> tuple[State, str]:
    model = MODELS[GEMMA]
    if importlib.util.find_spec(model.package) is None:
        return "absent", f"{model.title}: the package {model.package} is not installed; name a model with --model"
    ready = "ready in the cache" if is_converted(GEMMA) else "installed, converted at its first use (half a minute)"
    return "ok", f"{model.title}: {ready}, {cache_root()}; licence {model.license}"


class _Children:
    """Processes that try one thing each, killed with all that they started when they are late."""

    def __init__(self, time_limit_s: float) -> None:
        self.time_limit_s = time_limit_s
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """End those that run."""
        self._given_up.set()

    def nvidia_smi(self) -> tuple[State, str]:
        program = shutil.which("nvidia-smi")
        if program is None:
            return "absent", "no nvidia-smi on the path"
        asked = [program, "--query-gpu=name,memory.total,memory.used,driver_version", "--format=csv,noheader"]
        with tempfile.TemporaryFile() as out:
            code = self._run(asked, out)
            out.seek(0)
            text = out.read().decode("utf-8", "replace").strip()
        if code is None:
            return "hung", f"no answer within {self.time_limit_s:g} s"
        lines = "; ".join(text.splitlines()[:16])
        return ("ok", lines) if code == 0 else ("failed", f"{_ending(code)}: {lines}"[:400])

    def library(self, name: str, *, must: bool) -> tuple[State, str]:
        state, detail = self.answer(_IMPORT, name)
        if state == "absent":
            return ("failed", "not installed; run `make install`") if must else ("absent", "not installed")
        return state, detail

    def answer(self, program: str, name: str) -> tuple[State, str]:
        """What the Python `program` finds out about `name`."""
        with tempfile.TemporaryDirectory(prefix="cai-doctor-") as folder, tempfile.TemporaryFile() as out:
            answer = Path(folder) / "answer.json"
            code = self._run([sys.executable, "-c", program, name, str(answer)], out, cwd=folder)
            if code is None:
                return "hung", f"not imported within {self.time_limit_s:g} s; it was killed"
            try:
                found = json.loads(answer.read_text())
            except (OSError, ValueError):
                out.seek(0)
                said = out.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
                return "failed", f"{_ending(code)}: {said[-1] if said else 'it printed nothing'}"
            return found["state"], next(iter(found["detail"].strip().splitlines()), "")[:300]

    def _run(self, command: Sequence[str], out: Any, cwd: str | None = None) -> int | None:
        """The exit code, None where the time ran out. Output goes to a file: grandchildren would keep a pipe open."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONSAFEPATH": "1"},
            start_new_session=True,
        )
        late_at = time.monotonic() + self.time_limit_s
        while time.monotonic() < late_at and not self._given_up.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(0.2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # one that waits for a dead device cannot even be killed
            process.wait(2)
        return None


def _ending(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"exit code {code}"
