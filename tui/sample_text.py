"""A sample as text and as JSON, for the clipboard and the pager."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tui.text import make_visible


def as_json(sample: Mapping[str, Any]) -> str:
    """One object with all that the store knows of the sample; ASCII only, so that it is inert wherever it is pasted."""
    from store.progress import json_ready

    return json.dumps(json_ready(dict(sample)), indent=2, default=str)


def as_text(sample: Mapping[str, Any]) -> str:
    """What a person reads, with control characters made visible."""
    label = sample["person_label"] or {}
    parts = [
        f"sample {sample['sample_id']}",
        f"verdict {sample['verdict'] or 'pending'}: {sample['reason'] or ''}",
        f"flags {', '.join(sample['flags'] or ()) or 'none'}",
        *([f"your label {label['label']}: {label['note']}"] if label else []),
        *(f"{item['critic']} {item['score']:+.3f} ({item['margin_nats']:+.3f} nats)" for item in sample["judgements"]),
        f"\nInstruction\n{sample['instruction']}",
        f"\nResponse\n{sample['response']}",
        f"\nPrompt\n{sample['prompt']}",
        f"\nseed {sample['seed']}  request {sample['request_id']}  model {sample['fingerprint']}",
    ]
    return make_visible("\n".join(parts)) + "\n"
