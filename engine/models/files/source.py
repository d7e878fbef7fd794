"""Where a model's files are, without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.core.errors import ModelUnknown
from engine.models import addresses
from engine.models.files import embedded, faults


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's files are and what is known of it before it is loaded."""

    name: str
    path: str  # a folder, or a name on the Hugging Face hub
    license: str
    notice: str
    embedded: bool
    servers: tuple[str, ...] = ()  # addresses that answer in place of files


def resolve(name: str | None) -> Source:
    """Find a model by name, path or the addresses of servers without loading it; None is the embedded base model.

    Raises ModelUnknown where a path does not exist or holds no model, or a name can't be a model's.
    """
    name = name or embedded.GEMMA
    if addresses.are_addresses(name):
        servers, _ = addresses.parse(name)
        return Source(name, name, "see the model's own card", "", embedded=False, servers=servers)
    if name in embedded.MODELS:
        model = embedded.MODELS[name]
        return Source(name, name, model.license, model.notice, embedded=True)
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return Source(name, str(folder.resolve()), "see the model's own card", "", embedded=False)
    looks_like_hub_name = name.count("/") == 1 and not name.startswith((".", "/", "~")) and not folder.exists()
    if looks_like_hub_name:
        return Source(name, name, "see the model's own card", "", embedded=False)
    if folder.is_dir() or (folder.suffix == ".gguf" and folder.is_file()):
        raise faults.no_model(folder)
    known = ", ".join(embedded.MODELS)
    raise ModelUnknown(
        f"no model {name!r}",
        f"Name one of the embedded models ({known}), a folder with config.json, a Hugging Face name such as "
        "Qwen/Qwen2.5-32B, or servers such as http://host:8000/v1#name. No run was started.",
    )


def local_folder(source: Source) -> Path | None:
    """The folder with a model's files where it is on this machine already; fetches and converts nothing."""
    if source.servers:
        return None
    if source.embedded:
        return embedded.folder(source.name) if embedded.is_converted(source.name) else None
    if Path(source.path).is_dir():
        return Path(source.path)
    from huggingface_hub import snapshot_download  # heavy, and not needed for a folder
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(source.path, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
