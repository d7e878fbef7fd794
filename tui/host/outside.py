"""Telling a person who is away that a run ended or waits: by a command of their own, or by a post to an address.

Only the outcome and the run's id leave the machine. The address is a secret for whoever may write there, so it stands
in a file that only its owner can read, and no message has it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from store.errors import CaiError

if TYPE_CHECKING:
    from tui.config.settings import Config

LIMIT_S = 10.0
ADDRESS_AT_MOST = 2048  # bytes of its file


class NotTold(CaiError):
    """The person was not told; the run is as it would be without that."""


@dataclass(frozen=True, slots=True)
class Outside:
    """`command` has {run} and {outcome} where these are to stand; `address_file` holds the address."""

    command: str = ""
    address_file: str = ""

    @classmethod
    def of(cls, config: Config) -> Outside:
        return cls(config.tell_command, config.tell_address_file)

    @property
    def wanted(self) -> bool:
        return bool(self.command or self.address_file)

    def tell(self, run_id: str, outcome: str) -> None:
        """Say both ways that are set. Takes seconds; raises NotTold, which names the first that did not work."""
        problems = []
        for given, way in ((self.command, _by_command), (self.address_file, _by_post)):
            if given:
                try:
                    way(given, run_id, outcome)
                except (OSError, ValueError, subprocess.SubprocessError) as error:
                    problems.append(f"{_WAYS[way.__name__]}: {_plain(error)}")
        if problems:
            raise NotTold(
                f"you were not told outside the terminal ({'; '.join(problems)})",
                "The run is not touched by that. tell_command and tell_address_file are in the settings (,).",
            )


NOWHERE = Outside()
_WAYS = {"_by_command": "tell_command", "_by_post": "tell_address_file"}


def _by_command(command: str, run_id: str, outcome: str) -> None:
    words = [word.replace("{run}", run_id).replace("{outcome}", outcome) for word in shlex.split(command)]
    environment = {**os.environ, "CAI_RUN": run_id, "CAI_OUTCOME": outcome}
    nowhere = subprocess.DEVNULL
    ended = subprocess.run(
        words, env=environment, timeout=LIMIT_S, check=False, stdin=nowhere, stdout=nowhere, stderr=nowhere
    )
    if ended.returncode:
        raise ValueError(f"the command ended with code {ended.returncode}")


def _by_post(address_file: str, run_id: str, outcome: str) -> None:
    import urllib.request  # a thirtieth of a second, not before the first frame

    from engine.core.key import read_private

    address = read_private(Path(address_file).expanduser(), ADDRESS_AT_MOST).decode("ascii", "replace").strip()
    found = urlsplit(address)
    if found.scheme not in ("http", "https") or not found.hostname:
        raise ValueError("its file holds no address that begins with http or https")
    text = f"cai run {run_id}: {outcome}"
    # Slack and those that do as Slack does take an object, others, such as ntfy, the text itself.
    as_object = found.hostname == "hooks.slack.com" or "/hooks/" in found.path
    body, kind = (json.dumps({"text": text}), "application/json") if as_object else (text, "text/plain; charset=utf-8")
    request = urllib.request.Request(address, body.encode(), {"Content-Type": kind}, method="POST")
    with urllib.request.urlopen(request, timeout=LIMIT_S):
        pass


def _plain(error: Exception) -> str:
    """What went wrong, without an address that may stand in it."""
    from urllib.error import HTTPError, URLError

    if isinstance(error, HTTPError):
        return f"its server answered {error.code}"
    if isinstance(error, URLError):
        reason = error.reason
        return f"its server cannot be reached ({getattr(reason, 'strerror', None) or type(reason).__name__})"
    if isinstance(error, subprocess.TimeoutExpired):
        return f"the command took longer than {LIMIT_S:.0f} s"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
