"""Where models are asked: here, on a cluster of Ray, or elsewhere by files. One setting for all commands."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.core.errors import UsageError

ON = "CAI_ON"


@dataclass(frozen=True, slots=True)
class Where:
    """`cluster` is the address of Ray's head ("auto" for the cluster of this machine), `file` what requests go into.

    Both are None where models are asked on this machine.
    """

    cluster: str | None = None
    file: Path | None = None


def where() -> Where:
    """What CAI_ON says: ray, ray://host:port, or a file that ends in .jsonl. Raises UsageError for anything else."""
    asked = os.environ.get(ON, "")
    if not asked:
        return Where()
    if asked == "ray":
        return Where(cluster="auto")
    if asked.startswith("ray://") and len(asked) > len("ray://"):
        return Where(cluster=asked)
    if asked.endswith(".jsonl") and "://" not in asked:
        return Where(file=Path(asked).expanduser().absolute())
    raise UsageError(
        f"models can't be asked on {asked!r}",
        "Name ray (the cluster that this machine is part of), ray://host:10001, or FILE.jsonl for requests that "
        f"another machine answers; or leave --on out and unset {ON}. Nothing was started.",
    )
