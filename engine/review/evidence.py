"""The evidence that an approval is bound to: what identifies the spec, the data, the figures and the code."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from engine.review.prompt import Context, Section
from engine.spec import provenance
from store.text import json_text


@functools.cache
def code_sha256() -> str:
    """The hash of this program's code, as in a run's manifest."""
    return str(provenance.manifest()["code_sha256"])


def plain_context(run: Mapping[str, Any], given: Mapping[str, Any] | str) -> Context:
    """A script's own context: each text of it is quoted as data, and is the data that the answer is bound to."""
    texts = {"context": given} if isinstance(given, str) else given
    sections = tuple(
        Section(str(name), value if isinstance(value, str) else json_text(value)) for name, value in texts.items()
    )
    evidence = {"spec": run["settings"], "data": dict(texts), "figures": None, "code": code_sha256()}
    return Context(sections, evidence)
