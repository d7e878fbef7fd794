"""A report of one run in a folder of its own: Markdown, one HTML file, figures with their rows, and all queries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from engine.core.text import visible, without_secrets
from engine.report import account, claim, data, evaluation, judged, manifest, results, seeds, suites, threats, training
from engine.report.document import Document
from engine.report.page import page
from engine.report.query import Queries
from store.disk import whole_folder
from store.errors import CaiError, StoreWriteFailed
from store.read import Reader


def build(reader: Reader, run_id: str, out: Path, *, price_per_hour: float | None = None, now: datetime) -> list[Path]:
    """Write the report of a run into the folder `out`, which must not be there, and return its files.

    report.md, report.html, queries.sql, and in figures/ each drawing as SVG with its rows as CSV. `price_per_hour` is
    in US dollars; `now`, aware, is the time that the report bears. The same store, price and time give the same bytes.
    The folder appears whole or not at all. Raises NotFound, CaiError where `out` is there, StoreWriteFailed.
    """
    out = Path(out).expanduser().absolute()
    require_free(out)
    files = pages(reader, reader.resolve(run_id), price_per_hour, now)
    return write(out, files)


def pages(reader: Reader, run_id: str, price_per_hour: float | None, now: datetime) -> dict[str, str]:
    """The report's files by name, nothing written."""
    doc = Document(Queries(reader, run_id))
    head = doc.queries.ask(
        "The run and the time of this report",
        "SELECT run_id, spec, model, state, created_at, $2 AS written_at FROM runs WHERE run_id = $1",
        now,
    )
    doc.title("Report of run {run_id:text}", head)
    doc.say(
        "Spec {spec:code}, model {model:code}, begun on {created_at:time}, state {state:words}; written on "
        "{written_at:time}. Each figure names in brackets the query that it comes from; the queries stand in "
        "`queries.sql`, to be run on the store with `duckdb -readonly STORE < queries.sql`. A dash means that a "
        "figure does not exist.",
        head,
    )
    data.acceptance(doc)
    claim.question(doc)
    data.flow(doc)
    data.constitution(doc)
    training.settings(doc)
    data.guard(doc)
    data.audits(doc)
    data.gates(doc)
    training.trainings(doc)
    evaluation.design(doc)
    evaluation.scorer_audit(doc)
    evaluation.gap(doc)
    results.results(doc)
    judged.judged(doc)
    seeds.seeds(doc)
    suites.suites(doc)
    results.nondeterminism(doc)
    results.examples(doc)
    training.rows_shown(doc)
    account.cost(doc, price_per_hour)
    account.automation(doc)
    threats.threats(doc)
    manifest.manifest(doc)

    text = without_secrets(doc.markdown())
    drawn = {f"figures/{figure.name}.svg": figure.svg for figure in doc.figures}
    title = f"Report of run {visible(run_id)}"
    about = f"The queries behind this report of run {visible(run_id)}.\nTry: duckdb -readonly STORE < queries.sql"
    found = {
        "report.md": text,
        "report.html": page(text, title, drawn, doc.queries.asked),
        "queries.sql": doc.queries.file(about),
        **drawn,
        **{f"figures/{figure.name}.csv": figure.csv for figure in doc.figures},
    }
    return {name: without_secrets(content) for name, content in found.items()}


def require_free(out: Path) -> None:
    """Raise CaiError where there is something at `out`."""
    if out.exists() or out.is_symlink():
        raise CaiError(
            f"{out} is there already",
            "Nothing was written, so that no report is overwritten. Move it away, or choose another --out.",
        )


def write(out: Path, files: Mapping[str, str]) -> list[Path]:
    """Write files into a folder beside `out` and rename it into place. Raises StoreWriteFailed, nothing left behind."""
    try:
        with whole_folder(out) as aside:
            for name, content in files.items():
                path = aside / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(content, encoding="utf-8", newline="\n")
            require_free(out)
    except OSError as error:
        raise StoreWriteFailed(
            f"the report could not be written to {out}: {error}",
            "Nothing was left behind, and the store is intact. Choose another --out.",
        ) from error
    return [out / name for name in files]
