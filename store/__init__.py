"""The store: one DuckDB file, one writer, many readers, export. It knows neither models nor screens."""

from store.db import Store
from store.encode import restored, storable
from store.errors import CaiError, NotFound, StoreError, StoreLocked, StoreTooNew, StoreWriteFailed
from store.export import PROMPT_TEMPLATE, export, force_to_disk, prompt_template
from store.listing import COLUMNS, Choice, Listing
from store.progress import PHASES
from store.read import VERDICTS, Reader

__all__ = [
    "COLUMNS",
    "PHASES",
    "PROMPT_TEMPLATE",
    "VERDICTS",
    "CaiError",
    "Choice",
    "Listing",
    "NotFound",
    "Reader",
    "Store",
    "StoreError",
    "StoreLocked",
    "StoreTooNew",
    "StoreWriteFailed",
    "export",
    "force_to_disk",
    "prompt_template",
    "restored",
    "storable",
]
