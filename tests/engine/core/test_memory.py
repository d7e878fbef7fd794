"""What a process keeps of memory that its threads let go."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, threading
from engine.core.memory import share_arenas
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
{first}
held = threading.Barrier(9)
def allocating():
    libc.malloc(1000)
    held.wait()
for _ in range(8):
    threading.Thread(target=allocating).start()
held.wait()
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
"""


def heaps(first: str) -> int:
    told = subprocess.run([sys.executable, "-c", HEAPS.format(first=first)], capture_output=True, text=True, check=True)
    return told.stdout.count("<heap nr=")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_threads_share_two_heaps_and_would_not_otherwise() -> None:
    assert heaps("") > 2
    assert heaps("share_arenas()") == 2
