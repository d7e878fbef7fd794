"""The Textual app: keys, settings, what it asks a person, and how it serves its rooms."""

from tui.app.app import ControlCenter

__all__ = ["ControlCenter"]
