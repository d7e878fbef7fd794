"""The report of a run: every figure a query that gives it again, and what is absent is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from engine.report import claim
from engine.report.document import Document, col
from engine.report.query import Queries, QueryResult, filled, literal
from engine.spec.constitution import load_constitution
from engine.stats.clusters import clustered
from engine.stats.paired import Pairs, cohen_h, mcnemar, newcombe
from engine.stats.shares import wilson
from store.db import Store
from store.errors import CaiError
from tests.engine.report.conftest import NUMBER, REF, built, section, statements, table
from tests.engine.report.report_rows import evaluation, full_run, right, scorer_audit
from tests.store import rows

# -- every figure is a query ---------------------------------------------------------------------------------------------


def blocks(markdown: str) -> Iterator[str]:
    """Paragraphs, list items and tables, without headings, fenced blocks and pictures."""
    text = re.sub(r"^(`{3,})text\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\n+", text):
        if block.startswith("- "):
            yield from block.splitlines()
        elif block.strip() and not block.startswith(("#", "![")):
            yield block


def without_constants(text: str) -> str:
    text = re.sub(r"95 %|SHA-256|\(\w[\w ]*\b(?:et al\.|and \w+)? ?\d{4}\)", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|⟨U\+\w+⟩", "", text)
    return re.sub(r"(`+)(?!`).*?\1", "", text, flags=re.DOTALL)


def near(printed: str, values: list[float]) -> bool:
    """Whether a printed number is one of the values, rounded as it is printed: as it is, as a percentage, a "
    "duration."""
    number = float(printed.replace(",", ""))
    if "e" in printed:
        return any(abs(v - number) <= 0.06 * abs(number) for v in values)
    step = 0.5 * 10 ** -len(printed.partition(".")[2]) * (1 + 1e-9)
    three = 0.006 * abs(number)  # three significant digits
    forms = [scale * v for v in values for scale in (1, 100, 60, 3600)]
    return any(abs(v - number) <= max(step, 1e-12) or (v and abs(v - number) <= three) for v in forms)


def test_each_query_of_the_file_gives_the_numbers_that_are_printed(folder: Path, store_file: Path) -> None:
    markdown = (folder / "report.md").read_text()
    with duckdb.connect(str(store_file), read_only=True) as store:
        known = {}
        for name, sql in statements(folder).items():
            (statement,) = store.extract_statements(sql)
            assert statement.type == duckdb.StatementType.SELECT
            known[name] = store.sql(sql).to_arrow_table().to_pylist()
    found = 0
    names: list[str] = []
    for block in blocks(markdown):
        if not block.startswith("|"):  # a table's queries stand in the line before it
            names = REF.findall(block)
        parts = [(block, [row for name in names for row in known[name]])]
        if block.startswith("|"):
            lines, (rows_of,) = block.splitlines()[2:], [known[name] for name in names]
            assert len(lines) == len(rows_of)
            parts = [(line, [row]) for line, row in zip(lines, rows_of, strict=True)]
        for text, told in parts:
            printed = NUMBER.findall(without_constants(REF.sub("", text)))
            assert names or not printed, f"a number without a query: {text}"
            values = [float(v) for row in told for v in row.values() if type(v) in (int, float)]
            words = " ".join(str(v) for row in told for v in row.values()).replace("_", " ")
            for number in printed:
                said = number.lstrip("+-")
                assert near(number, values) or near(said, values) or said in words, (number, text[:300])
                found += 1
    assert found > 300


def test_the_command_line_of_the_database_runs_the_whole_file(folder: Path, store_file: Path) -> None:
    text = (folder / "queries.sql").read_text()
    with duckdb.connect(str(store_file), read_only=True) as store:
        kinds = {statement.type for statement in store.extract_statements(text)}
        assert kinds == {duckdb.StatementType.SELECT}
        assert len(store.extract_statements(text)) == len(statements(folder))
    outside = re.sub(r"\\\[.*?\\\]", "", "\n".join(blocks((folder / "report.md").read_text())))
    named = set(REF.findall(outside))
    assert named <= set(statements(folder))
    assert len(set(statements(folder).values())) == len(statements(folder))


def test_a_number_without_a_query_is_refused(store_file: Path) -> None:
    with Store.open(store_file, read_only=True) as store, store.reader() as reader:
        doc = Document(Queries(reader, "run-a"))
        answer = doc.queries.ask("runs", "SELECT 3 AS n, NULL AS nothing")
        for told in ("there are 3 runs", "{n:count} of 4", "{n:count} in 2026"):
            with pytest.raises(ValueError, match="must come from a query"):
                doc.say(told, answer)
        with pytest.raises(ValueError, match="must come from a query"):
            doc.section("3 runs")
        with pytest.raises(KeyError):
            doc.say("{other:count}", answer)
        doc.say("a 95 % interval (Wilson 1927) of {n:count} and {nothing:count}", answer)
        assert doc.markdown() == "a 95 % interval (Wilson 1927) of 3 and not measured [Q1]\n"
    with pytest.raises(ValueError, match="no kind"):
        col("n", "whatever")


def test_what_is_asked_is_what_stands_in_the_file() -> None:
    assert filled("SELECT $1, $2, $3, $10", ["it's", 1.5, None, *"abcdef", True]) == "SELECT 'it''s', 1.5, NULL, true"
    assert literal(datetime(2026, 1, 2, tzinfo=UTC)) == "TIMESTAMPTZ '2026-01-02T00:00:00+00:00'"
    assert literal(["a", 1]) == "['a', 1]"
    with pytest.raises(CaiError):
        literal("a\0b")
    with pytest.raises(ValueError, match="no literal"):
        literal(object())
    assert QueryResult("Q1", "", "", ()).row == {} and not QueryResult("Q1", "", "", ())


# -- the numbers themselves ----------------------------------------------------------------------------------------------


def test_shares_by_condition_are_the_answers(folder: Path) -> None:
    told = {
        (row["capability"], row["condition"]): row
        for row in table((folder / "report.md").read_text(), "Share of test items right by condition.")
    }
    assert len(told) == 8
    for condition in ("base_raw", "base_formatted", "sft", "dpo"):
        for capability, n in (("instruction following", 120), ("conversation", 40)):
            k = n // 40 * sum(right(condition, place) for place in range(40))
            lo, hi = wilson(k, n)
            row = told[capability, condition.replace("_", " ")]
            assert (row["test items"], row["right"], row["share"]) == (str(n), str(k), f"{100 * k / n:.1f} %")
            assert row["95 % interval"] == f"[{100 * lo:.1f}, {100 * hi:.1f}] %"
            first = n // 40 * (-1 if right(condition, 0) else 1)  # the first item of a type flips when padded
            assert row["padded"] == f"{100 * (k + first) / n:.1f} %"


def test_differences_are_those_of_the_pairs(folder: Path) -> None:
    found = table((folder / "report.md").read_text(), "Comparisons over all types.")
    (primary,) = [row for row in found if row["role"] == "primary"]
    places = [(right("dpo", n), right("base_formatted", n)) for n in range(40)] * 3
    pairs = Pairs(*(places.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))
    interval = newcombe(pairs)
    assert (primary["before"], primary["after"], primary["test items"]) == ("base formatted", "dpo", "120")
    assert (primary["gained"], primary["lost"]) == (str(pairs.gained), str(pairs.lost))
    assert primary["difference, points"] == f"{100 * pairs.difference:+.1f}"
    templates = [n % 20 for _ in range(3) for n in range(40)]
    types = [name for name in range(3) for _ in range(40)]
    tested = clustered([one for one, _ in places], [other for _, other in places], templates, types)
    assert primary["95 % interval"] == f"[{100 * tested.lo:+.1f}, {100 * tested.hi:+.1f}]"
    assert primary["p"] == f"{tested.p:.1e}"
    markdown = (folder / "report.md").read_text()
    caption = "Descriptions that take items for independent; none of them decides."
    (by_items,) = [
        row for row in table(markdown, caption) if (row["before"], row["after"]) == ("base formatted", "dpo")
    ][:1]
    assert by_items["Newcombe's interval"] == f"[{100 * interval.lo:+.1f}, {100 * interval.hi:+.1f}]"  # type: ignore[operator]
    assert by_items["McNemar's exact p"] == f"{mcnemar(pairs).p:.1e}"
    assert primary["Cohen's h"] == f"{cohen_h(pairs).value:.3f}"


def test_the_claim_is_one_sentence_with_interval_effect_and_n(folder: Path) -> None:
    told = section((folder / "report.md").read_text(), "Question and claim")
    (said,) = [line for line in told.splitlines() if line.startswith("**Claim.**")]
    for part in (
        "On 120 held-out items",
        "80.0 %",
        "30.0 %",
        "+50.0 percentage points [+",
        "made by 60 templates",
        "cluster-robust t (CR2)",
        "Cohen's h",
    ):
        assert part in said
    assert "As descriptions, were items independent: McNemar's exact p" in told
    assert said.count(". ") == 1 and "an improvement at the registered level" in said


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"scorer_audits": [scorer_audit("length", "sft", 0.9, op="<=", threshold=0.5, passed=False)]},
            "1 of 4 deciding",
        ),
        ({"guard_checks": [rows.guard_check("late", passed=False)]}, "failed 1 of 3 checks"),
        ({"evaluation_results": None}, "of 0 results 0 are registered"),
        ({"evaluation_results": "exploratory"}, "of 30 results 0 are registered"),
        ({"evaluation_results": "descriptive"}, "too few templates answered to test it (60 templates, 120 items)"),
        ({"scorer_audits": None}, "the scorer was not audited"),
        ({"guard_checks": None}, "the contamination guard was not run"),
        ({"tuned": None}, "no tuned model was evaluated"),
        ({"reviewed": ["pilot", "claim"]}, "nobody approved of this one"),
    ],
)
def test_no_claim_is_made_without_what_it_needs(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    found = full_run()
    for name, value in change.items():
        if name == "tuned":
            for key, made in evaluation(conditions=("base_raw", "base_formatted", "sft")).items():
                found[key] = [row for row in made if row.get("condition") != "sft"]
            found["registrations"] = found["evaluation_results"] = found["evaluation_looks"] = []
        elif name == "reviewed":
            found["runs"] = [
                {**row, "settings": {**row["settings"], "review": {"ask": value}}} for row in found["runs"]
            ]
        elif value is None:
            found[name] = []
        elif isinstance(value, str):
            found[name] = [{**row, "registered": False, "role": value} for row in found[name]]
        else:
            found[name] += value
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(found)
        with store.reader() as reader:
            doc = Document(Queries(reader, "run-a"))
            claim.question(doc)
    told = doc.markdown()
    assert "**No claim is made:**" in told and reason in told and "**Claim.**" not in told


def test_a_result_within_chance_is_told_as_such(tmp_path: Path) -> None:
    found = full_run()
    for row in found["evaluation_results"]:
        row |= {"p_corrected": 0.4, "lo": -0.01}
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(found)
    built(tmp_path / "s.duckdb", "run-a", tmp_path / "out", price_per_hour=1.0)
    markdown = (tmp_path / "out/report.md").read_text()
    assert "the registered test shows no difference at its level of 0.045" in section(markdown, "Question and claim")
    assert "none, because the interval of the difference includes zero" in section(markdown, "Cost")


def test_what_differs_from_the_registration_is_told(tmp_path: Path) -> None:
    found = full_run()
    body = found["registrations"][0]["body"]
    body |= {"scorer_sha256": "99" * 32, "n": {"instruction_following": 130}, "decoding": {"max_tokens": 64}}
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(found)
    built(tmp_path / "s.duckdb", "run-a", tmp_path / "out")
    markdown = (tmp_path / "out/report.md").read_text()
    told = {row["what"]: row["differs"] for row in table(markdown, "What was registered and what was done")}
    assert {what for what, differs in told.items() if differs == "yes"} == {
        "scorer", "test items of instruction following", "decoding, max tokens",
    }  # fmt: skip
    assert "What was done differs from what was registered" in section(markdown, "Question and claim")


def test_the_flow_adds_up(folder: Path) -> None:
    markdown = (folder / "report.md").read_text()
    steps = {row["what"]: row["n"] for row in table(markdown, "Rows at each step.")}
    assert steps["candidate instructions"] == "5" and steps["distinct instructions"] == "4"
    assert steps["answered"] == "4" and steps["answers accepted"] == "2" and steps["rows of supervised training"] == "1"
    assert steps["preference pairs made"] == "–"
    out = [(row["after step"], row["reason"][:20], row["n"]) for row in table(markdown, "Left out after each step")]
    assert ("1", "duplicate", "1") in out and ("2", "not judged", "3") in out
    assert ("5", "longer than the limi", "1") in out and ("5", "of the test split", "1") in out
    for step, before, after in ((1, 5, 4), (2, 4, 1), (4, 4, 2)):
        assert sum(int(n) for s, _, n in out if s == str(step)) == before - after


def test_costs_and_a_persons_time(folder: Path) -> None:
    markdown = (folder / "report.md").read_text()
    told = section(markdown, "Cost")
    assert "worked for 2.00 h" in told and "Money: 4.00 USD at 2.00 USD an hour" in told
    assert "An accepted example took 3,600 seconds or 2.00 USD" in told
    assert "took 2.4 min or 0.08 USD" in told  # 2 h and 4 USD for 50 points
    assert [row["time"] for row in table(markdown, "Time by phase.")] == ["1.10 h", "30.0 min"]
    told = section(markdown, "Automation, as measured")
    assert "labelled 1 items and made 2 of 3 decisions" in told
    assert "A lower bound is 3 minutes" in told  # acts at 1, 3 and 4 minutes


def test_the_ledger_goes_before_a_price_per_hour(tmp_path: Path) -> None:
    booked = [("gpu", 1_500_000, 3600.0, "gpu_second"), ("api", 250_000, 1000.0, "input_token")]
    entries = [
        {"run_id": "run-a", "entry_id": f"e{n}", "kind": kind, "stage": 1, "phase": "responses", "state": "settled",
         "micro_usd": micro, "quantity": quantity, "unit": unit, "price_usd": 0.001, "priced_on": "2026-01-01",
         "detail": "", "session_id": "session-1", "at": rows.T0}
        for n, (kind, micro, quantity, unit) in enumerate(booked)
    ]  # fmt: skip
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append({**rows.small_run(), "ledger": entries})
    built(tmp_path / "s.duckdb", "run-a", tmp_path / "out", price_per_hour=99.0)
    markdown = (tmp_path / "out/report.md").read_text()
    assert "Money: 1.75 USD by the ledger" in section(markdown, "Cost")
    assert "or 0.88 USD" in section(markdown, "Cost")  # for two accepted examples
    assert [row["cost"] for row in table(markdown, "The ledger.")] == ["0.25 USD", "1.50 USD"]


def test_threats_have_their_figures(folder: Path) -> None:
    told = section((folder / "report.md").read_text(), "Threats to validity")
    for part in (
        "Scripted histories: 40 of 160",
        "0 of 1 passed, so rules alone",
        "16 of 720 verdicts change",
        "of 80 answers asked again 4 texts",
        "Low power: 66.7 %",
        "1 of 3 checks failed",
    ):
        assert part in told
    assert all(REF.search(line) for line in told.splitlines() if line.startswith("- "))


def test_repeats_and_replays(folder: Path) -> None:
    markdown = (folder / "report.md").read_text()
    found = {row["condition"]: row for row in table(markdown, "Answers of the evaluation asked again")}
    lo, hi = wilson(4, 20)
    assert found["dpo"]["text differs"] == "20.0 %" and found["sft"]["text differs"] == "0.0 %"
    assert found["dpo"]["its 95 % interval"] == f"[{100 * lo:.1f}, {100 * hi:.1f}] %"
    assert "of the texts 1 differed, and the scores by 2.5e-06 nats" in markdown
    (replay,) = table(markdown, "Phases that were replayed.")
    assert (replay["texts the same"], replay["verdicts the same"]) == ("95.0 %", "100.0 %")


# -- what is absent is said ----------------------------------------------------------------------------------------------


def test_a_bare_run_says_what_was_not_measured(bare: str) -> None:
    for title, words in {
        "Question and claim": "no evaluation was made in this run",
        "Data flow": "No instruction was written",
        "Constitution": "No constitution was used",
        "Contamination guard": "The guard was not run",
        "Audits of the critics": "No critic was audited",
        "Quality gates": "No quality gate was decided",
        "Training": "No model was trained",
        "Design of the evaluation": "Nothing was registered",
        "Audit of the scorer": "The scorer was not audited",
        "Gap gate": "was not decided",
        "Results": "Not measured in this run",
        "Nondeterminism, as measured": "Not measured in this run",
        "Examples": "None:",
        "Cost": "no tuned model was compared",
        "Automation, as measured": "was not measured",
        "Threats to validity": "Nothing was evaluated: 0 test items",
        "Manifest": "No packages were recorded",
    }.items():
        assert words in section(bare, title), title
    assert "**Claim.**" not in bare and "![" not in bare


def test_audits_of_different_items_stand_in_tables_of_their_own(tmp_path: Path) -> None:
    taken = {"natural": True, "n": 210, "taken": 24, "good": 8, "precision": 8 / 24, "lo": 0.18, "hi": 0.53}
    audits = [
        rows.audit("probe", part="own", auc=0.8, detail={"calibration_error": 0.031, "accepted": taken | {"lo": 0.2}}),
        rows.audit("probe", part="planted", auc=0.9, detail={"accepted": taken | {"natural": False}}),
        rows.audit("probe", part="fresh", auc=0.7, detail={"accepted": taken}),
        rows.audit("grade", part="own", auc=0.5, detail={"no_scale": "none", "half_gap_nats": float("inf")}),
    ]
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append({"runs": [rows.run()], "audits": audits})
    built(tmp_path / "s.duckdb", "run-a", tmp_path / "out")
    text = section((tmp_path / "out/report.md").read_text(), "Audits of the critics")
    labelled, _, fresh = text.partition("**Audits on fresh candidates, read blind")
    assert (
        "| `probe` | sample | own | 30 | 30 | 0.800 | [0.500, 0.720] | 0.031 | 24 | 33.3 % | [20.0, 53.0] %" in labelled
    )
    assert "| `probe` | sample | planted | 30 | 30 | 0.900 | [0.500, 0.720] | – | 24 | – | – |" in labelled
    assert re.search(r"\| `grade` \| sample \| own .* \| no \| no \|", labelled) and "| fresh |" not in labelled
    assert "| `probe` | sample | fresh |" in fresh and "| own |" not in fresh
    assert "No critic was audited on a person's labels in this run." in fresh


def test_a_base_alone_says_that_no_tuned_model_was_evaluated(tmp_path: Path) -> None:
    made = evaluation(conditions=("base_raw", "base_formatted", "sft"))
    found = {key: [row for row in made[key] if row.get("condition") != "sft"] for key in made}
    found |= {"runs": [rows.run()], "registrations": [], "evaluation_results": [], "evaluation_looks": []}
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(found)
    built(tmp_path / "s.duckdb", "run-a", tmp_path / "out")
    markdown = (tmp_path / "out/report.md").read_text()
    assert "No tuned model was evaluated" in section(markdown, "Design of the evaluation")
    assert "No tuned model was evaluated: no difference is shown" in section(markdown, "Results")
    assert (tmp_path / "out/figures/conditions.svg").exists()


def test_the_constitution_is_shown_where_it_is_the_same_file(tmp_path: Path) -> None:
    now = load_constitution()
    facts = {"version": now.version, "sha256": now.sha256, "principles": [p.id for p in now.principles]}
    for name, sha256 in (("same", now.sha256), ("other", "0" * 64)):
        with Store.open(tmp_path / f"{name}.duckdb") as store:
            store.append({"runs": [rows.run(manifest={"constitution": facts | {"sha256": sha256}})]})
        built(tmp_path / f"{name}.duckdb", "run-a", tmp_path / name)
        told = section((tmp_path / name / "report.md").read_text(), "Constitution")
        assert sha256 in told and (now.principles[0].text in told) is (name == "same")
