"""An event read as a mapping, without a copy of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


class Fields(Mapping[str, object]):
    """An event's fields as a mapping."""

    def __init__(self, event: object) -> None:
        self._event = event

    def __getitem__(self, key: str) -> object:
        try:
            return getattr(self._event, key)
        except AttributeError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
