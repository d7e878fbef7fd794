"""Nobody's own settings are read."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def no_settings_of_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "no-config.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
