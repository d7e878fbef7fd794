"""What can end a training, and what the engine is told of it."""

from __future__ import annotations

import errno

from engine.core.errors import TrainingError
from store.errors import CaiError

# A full disk in the words of safetensors and torch.
FULL = ("No space left", "os error 28", "PytorchStreamWriter failed", "File too large", "os error 27", "unexpected pos")


class NotFinite(TrainingError):
    """A loss or a gradient is no number any more."""


def story(error: BaseException) -> dict[str, str]:
    """What the engine is told of an error: cause, title and hint."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, CaiError):
        cause = "nan" if isinstance(error, NotFinite) else "error"
        return {"cause": cause, "title": error.title, "hint": error.hint}
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return {"cause": "memory", "title": f"the device's memory is used up: {text}", "hint": ""}
    if _is_full(error):
        return {
            "cause": "disk",
            "title": f"a checkpoint could not be written: {text}",
            "hint": "Free some space, then `cai train` goes on from the last checkpoint, which is whole.",
        }
    return {
        "cause": "error",
        "title": f"training failed: {type(error).__name__}: {text}",
        "hint": "The traceback is in the log. The last checkpoint is whole: `cai train` goes on from it.",
    }


def _is_full(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, is a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if any(words in str(error) for words in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False
