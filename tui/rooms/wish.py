"""Which samples a person wants listed, and how that is read from the store."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from tui.widgets.endless import PAGE

if TYPE_CHECKING:
    from store.read import Reader

# A listing, the cursor's index in it, a page's first index, its rows.
Found = tuple[Any, int, int, list[dict[str, Any]]]
_RANGE = re.compile(r"^\s*(?P<low>[-+−]?[\d.]+)?\s*(?:…|\.\.+|to|,|;)\s*(?P<high>[-+−]?[\d.]+)?\s*$")

_KINDS: dict[str, Any] = {
    "str": str,
    "bool": bool,
    "str | None": (str, type(None)),
    "float | None": (float, int, type(None)),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person chose, in the words of store.Choice, which cannot be imported before the first frame."""

    verdict: str | None = None
    flagged: bool = False
    split: str | None = None
    label: str | None = None
    text: str = ""
    lowest: float | None = None
    highest: float | None = None
    where: str = ""
    order: str = "ordinal"
    descending: bool = False

    def listing(self, reader: Reader, run_id: str, critic: str | None) -> Any:
        from store.listing import Selection  # not before the first frame: it brings DuckDB

        return reader.listing(run_id, Selection(critic=critic or "", **asdict(self)))

    def finder(self, run_id: str, critic: str | None, seek: str = "", by: str = "") -> Callable[[Reader], Found]:
        """What reads the listing and its page with the sample `seek`, or the first page, with labels `by` a person."""

        def find(reader: Reader) -> Found:
            listing = self.listing(reader, run_id, critic)
            at = (listing.position(seek) if seek else None) or 0
            first = at // PAGE * PAGE
            return listing, at, first, reader.page(listing, first, PAGE, by)

        return find

    @classmethod
    def of(cls, kept: object) -> Wish:
        """A wish as `asdict` gave it; everything where it is no such thing."""
        try:
            found = cls(**kept) if isinstance(kept, dict) else cls()
            fits = all(isinstance(getattr(found, field.name), _KINDS[str(field.type)]) for field in fields(cls))
        except TypeError:
            return cls()
        return found if fits else cls()

    @property
    def margin(self) -> str:
        if self.lowest is None and self.highest is None:
            return ""
        ends = ("" if end is None else f"{end:+g}" for end in (self.lowest, self.highest))
        return " … ".join(ends)


def parse_range(text: str) -> tuple[float | None, float | None] | None:
    """The two ends of a range as a person types it, None for one that is left out; None where it is no range."""
    if not text:
        return None, None
    found = _RANGE.match(text)
    return None if found is None else (_number(found["low"]), _number(found["high"]))


def _number(text: str | None) -> float | None:
    try:
        return float(text.replace("−", "-")) if text else None
    except ValueError:
        return None
