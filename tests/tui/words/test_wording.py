"""How phases are called."""

from __future__ import annotations

from tui.words.wording import phase_title


def test_phases_under_way_together_are_called_by_all_their_titles() -> None:
    assert phase_title("gate") == "QC gate"
    assert phase_title("instruction_judgements+something_new") == "Judge instr. + Something new"
