"""Keys of a person's own: which bindings there are, and what a keymap would do to them, before it is applied.

Textual's own `set_keymap` drops, of several bindings on one key, all that are not named (binding.py, apply_keymap,
8.2.8), so those are named here too; and it takes a wrong name or a clash without a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages

from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.keys import KEY_ALIASES, KEY_NAME_REPLACEMENTS, Keys, _normalize_key_list
from textual.screen import ModalScreen

from tui import rooms, widgets
from tui.app.keys import KEYS, PERSONAL_KEYS
from tui.config.settings import nearest

_MODIFIERS = frozenset({"ctrl", "shift", "alt", "super", "hyper", "meta"})
_NAMED = frozenset(key.value for key in Keys) | frozenset(KEY_ALIASES) | frozenset(KEY_NAME_REPLACEMENTS.values())


@dataclass(frozen=True, slots=True)
class BoundKey:
    """A binding where it is: `scope` is the class of the widget or screen that has it, "" for the app.

    `alone` is whether it is on a screen that lets none of the app's keys through.
    """

    id: str
    key: str
    scope: str
    alone: bool = False


def places() -> list[BoundKey]:
    """Every binding with an id, of the app, its rooms and its widgets; one for each of its keys."""
    for package in (rooms, widgets):
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    import_module("tui.app.settings_screen")
    found = dict.fromkeys(_places("", [*KEYS, *PERSONAL_KEYS], alone=False))
    for node in _below(DOMNode):
        if not _is_app(node):
            found |= dict.fromkeys(
                _places(node.__name__, node.__dict__.get("BINDINGS", []), issubclass(node, ModalScreen))
            )
    return list(found)


def _places(scope: str, declared: Iterable[BindingType], alone: bool) -> list[BoundKey]:
    bindings = Binding.make_bindings(declared)
    return [BoundKey(binding.id, binding.key, scope, alone) for binding in bindings if binding.id]


def _is_app(node: type[DOMNode]) -> bool:
    return any((base.__module__, base.__name__) == ("textual.app", "App") for base in node.__mro__)


def _below(kind: type[DOMNode]) -> Iterable[type[DOMNode]]:
    for found in kind.__subclasses__():
        yield found
        yield from _below(found)


def complete(keymap: Mapping[str, str], known: Iterable[BoundKey]) -> tuple[dict[str, str], list[str]]:
    """The keymap as it can be applied, and what is wrong with it."""
    known = list(known)
    problems: list[str] = []
    wanted: dict[str, str] = {}
    ids = sorted({place.id for place in known})
    for name, keys in keymap.items():
        if name not in ids:
            problems.append(f"keymap: there is no binding {name!r}{nearest(name, ids)}; it is left out")
        elif wrong := [key for key in _split(keys) if not is_key(key)]:
            problems.append(f"keymap {name}: {wrong[0]!r} is no key{nearest(wrong[0], _NAMED)}; it is left out")
        else:
            wanted[name] = _normalize_key_list(keys)
    problems += _clashes(wanted, known)
    moved = {place.key for place in known if place.id in wanted}
    beside = dict.fromkeys(place.id for place in known if place.id not in wanted and place.key in moved)
    kept = {name: dict.fromkeys(place.key for place in known if place.id == name) for name in beside}
    return {**{name: ",".join(keys) for name, keys in kept.items()}, **wanted}, problems


def _clashes(wanted: Mapping[str, str], known: list[BoundKey]) -> list[str]:
    """One sentence for each pair of bindings that a keymap puts on one key where both hold.

    Bindings that shared a key before were made for that: one of them holds at a time.
    """
    now = {
        (place.id, key, place.scope, place.alone)
        for place in known
        for key in (_split(wanted[place.id]) if place.id in wanted else [place.key])
    }
    shared = {frozenset((one.id, other.id)) for one in known for other in known if one.key == other.key}
    told: dict[frozenset[str], str] = {}
    for name, key, scope, alone in sorted(now):
        if name not in wanted:
            continue
        for other, other_key, other_scope, other_alone in sorted(now):
            pair = frozenset((name, other))
            meet = scope == other_scope or (not (scope and other_scope) and not (alone or other_alone))
            if other_key != key or not meet or len(pair) == 1 or pair in shared or pair in told:
                continue
            if scope == other_scope:
                told[pair] = f"keymap: {key!r} is {name} and {other}; give one of them another key"
            else:
                inner, outer = (name, other) if scope else (other, name)
                told[pair] = f"keymap: {key!r} is {name} and {other}; where both hold, {inner} wins over {outer}"
    return list(told.values())


def _split(keys: str) -> list[str]:
    return [key.strip() for key in keys.split(",")]


def is_key(name: str) -> bool:
    """Whether a keyboard can send it: a character, a named key, either with modifiers."""
    *modifiers, key = name.split("+") if name != "+" else ["+"]
    if not all(modifier in _MODIFIERS for modifier in modifiers) or not key:
        return False
    if len(key) == 1 or key in _NAMED:
        return key.isprintable()
    try:
        return bool(unicodedata.lookup(key.replace("_", " ").upper()))
    except KeyError:
        return False
