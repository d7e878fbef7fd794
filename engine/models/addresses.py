"""Addresses of servers in place of a model's name: `http://a:8000/v1,http://b:8000/v1#name`."""

from __future__ import annotations

import ipaddress
import urllib.parse

from engine.core.errors import ModelUnknown

_HINT = (
    "Name servers such as http://host:8000/v1#served-name, several separated by commas; the name may be left out where "
    "a server has one model only. A key goes into the environment variable CAI_MODEL_KEY. No run was started."
)


def are_addresses(name: str) -> bool:
    """Whether a model's name is that of servers."""
    return name.lower().startswith(("http://", "https://"))


def parse(name: str) -> tuple[tuple[str, ...], str]:
    """Base addresses up to /v1, and the name that the model is served under ("" where none is given).

    Raises ModelUnknown for what is no address, for two names, and for an address with a user, a password or a query,
    which would be written into the store.
    """
    found: list[str] = []
    names: set[str] = set()
    for number, text in enumerate(name.split(","), 1):
        try:
            parts = urllib.parse.urlsplit(text.strip())
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
        if not usable or parts.username is not None or parts.password is not None or parts.query:
            raise ModelUnknown(f"address {number} of the model's servers is none: no user, password or query", _HINT)
        base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"
        if base not in found:
            found.append(base)
        if parts.fragment:
            names.add(urllib.parse.unquote(parts.fragment))
    if len(names) > 1:
        raise ModelUnknown(f"the servers are to serve one model, {len(names)} are named", _HINT)
    return tuple(found), names.pop() if names else ""


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
