"""A store in which whatever a model, a person or a file's name may say is hostile, in every column that can hold it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from store.db import Store
from store.migrate import tables
from tests.engine.report.report_rows import full_run
from tests.tui.fake_preferences import fill_preferences
from tests.tui.fakes import RUN

MARK = "ÆVIL"
EVIL = (
    f"=HYPERLINK(1) {MARK} \x1b]0;owned\x07\x1b[2J\u202e\u200b\u2028\x85\x0c\r[red]x[/] `tick` | <img src=x> "
    "![p](http://evil.example/p.png) [go](javascript:alert(1)) "
)
# No terminal may get these, whoever wrote them: controls but the line feed, and signs that change how text is read.
LIVE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# The program's own words and hashes, by which rows are found and told apart. What is not here is somebody's text.
OWN = re.compile(
    r".*_ids?|.*sha256|.*fingerprint|id|state|status|verdict|basis|flags|label|labels|subject_kind|split|critic|part|"
    r"condition|capability|item_type|template|source|kind|unit|phase|method|role|op|readout|gate|check_name|topic|before|"
    r"after|beside|name|measure|against|test|correction|interval_method|effect_name|drawn|until|stop_reason|suite|task|"
    r"metric|statistic|level|approval|priced_on|variant|request_ids|subject|at|mark|cluster_id|settings|overrides"
)


def tainted(path: Path) -> Path:
    """Put EVIL in front of every text of a store."""
    with Store.open(path) as store:
        found = tables(store._writer)
        for table in found.values():
            for column in table.columns:
                if OWN.fullmatch(column.name) or column.name in table.key:
                    continue
                if column.sql_type == "VARCHAR":
                    store._writer.execute(f'UPDATE {table.name} SET "{column.name}" = ? || "{column.name}"', [EVIL])
                elif column.sql_type == "JSON":
                    values = store._writer.execute(f'SELECT DISTINCT "{column.name}" FROM {table.name}').fetchall()
                    for (value,) in values:
                        if value is not None:
                            changed = [json.dumps(_tainted(json.loads(value))), value]
                            store._writer.execute(
                                f'UPDATE {table.name} SET "{column.name}" = ? WHERE "{column.name}" = ?', changed
                            )
    return path


def hostile_store(path: Path) -> Path:
    """A run with preferences, trainings and an evaluation, all of whose texts are hostile."""
    fill_preferences(path)
    more = full_run(RUN)
    with Store.open(path) as store:
        store.append({name: rows for name, rows in more.items() if name != "runs"})
        store._writer.execute("UPDATE instructions SET split = 'train'")  # or no pair may be exported
    return tainted(path)


def _tainted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: of if OWN.fullmatch(key) else _tainted(of) for key, of in value.items()}
    if isinstance(value, list):
        return [_tainted(of) for of in value]
    return f"{EVIL}{value}" if isinstance(value, str) else value
