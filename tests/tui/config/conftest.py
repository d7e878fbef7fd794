"""A configuration with a comment, keys and a theme of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.config import settings

SAID = """# what I like
theme = "cai-safe"   # blue and orange
price_per_gpu_hour = 2.49

bell = false
[keymap]
"run.pause" = "x"  # theme = "not this one"
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for setting in settings.SETTINGS:
        if setting.environment:
            monkeypatch.delenv(setting.environment, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"
