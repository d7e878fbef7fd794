"""What the store holds, as plain dicts: the questions that the screen, the command line and the export ask."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Sequence

from store import progress
from store.errors import NotFound
from store.listing import Listing, Selection
from store.names import REPEAT_OF, VERDICTS, preferred
from store.outcomes import labels_by
from store.query import Query, Row

MARGINS_AT_MOST = 20_000

_OF_SAMPLE = ("ordinal", "sample_id", "instruction_id", "response", "stop_reason", "n_tokens")
_SAMPLES = """
    SELECT s.ordinal, s.sample_id, s.instruction_id, i.text AS instruction, s.response, v.verdict, v.basis,
           coalesce(v.flags, []) AS flags, v.reason, s.stop_reason, s.n_tokens, i.split
    FROM samples s
    LEFT JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
    LEFT JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    WHERE s.run_id = $1 AND ($2 IS NULL OR v.verdict = $2) ORDER BY s.ordinal, s.sample_id LIMIT $3 OFFSET $4
"""

_SAMPLES_COUNTED = """
    SELECT count(*) AS n FROM samples s
    LEFT JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    WHERE s.run_id = $1 AND ($2 IS NULL OR v.verdict = $2)
"""


class Reader(Query):
    """The questions about runs, samples and what was said of them, on a cursor of its own."""

    def latest_run_id(self) -> str | None:
        """The id of the run that was created last and repeats none, None in an empty store."""
        rows = self.query(
            f"SELECT run_id FROM runs WHERE manifest->>'$.{REPEAT_OF}' IS NULL "
            "ORDER BY created_at DESC, run_id DESC LIMIT 1"
        )
        return str(rows[0]["run_id"]) if rows else None

    def resolve(self, run_id: str) -> str:
        """The full id of the run that `run_id` is, or is the beginning of. Raises NotFound."""
        known = [str(row["run_id"]) for row in self.query("SELECT run_id FROM runs ORDER BY created_at DESC, run_id")]
        return _resolved("run", run_id, known)

    def run(self, run_id: str) -> Row:
        """One run's row by its id or the unique beginning of it, its JSON parsed. Raises NotFound.

        `state` is the stored one, except that a run whose process ended without saying so is "stopped".
        """
        rows = self.query("SELECT * FROM runs WHERE run_id = ?", [self.resolve(run_id)])
        row = _parsed(rows, "settings", "overrides", "manifest")[0]
        return progress.with_live_state(row, self._sessions([row["run_id"]]), self.owner)

    def runs(self) -> list[Row]:
        """All runs, newest first, each with its counts of distinct `instructions`, of `samples` and of `accepted`."""
        rows = self.query(
            """
            SELECT r.*, coalesce(i.n, 0) AS instructions, coalesce(s.n, 0) AS samples, coalesce(v.n, 0) AS accepted
            FROM runs r
            LEFT JOIN (SELECT run_id, count(*) AS n FROM instructions WHERE status = 'distinct' GROUP BY 1) i
                USING (run_id)
            LEFT JOIN (SELECT run_id, count(*) AS n FROM samples GROUP BY 1) s USING (run_id)
            LEFT JOIN (SELECT run_id, count(*) AS n FROM verdicts
                       WHERE subject_kind = 'sample' AND verdict = 'accepted' GROUP BY 1) v USING (run_id)
            ORDER BY r.created_at DESC, r.run_id DESC
            """
        )
        sessions = self._sessions([row["run_id"] for row in rows])
        found = _parsed(rows, "settings", "overrides", "manifest")
        return [progress.with_live_state(row, sessions, self.owner) for row in found]

    def completions(self, request_ids: Sequence[str]) -> dict[str, Row]:
        """The stored completions among `request_ids`, by id; `decoding` parsed."""
        return self._by_request("completions", request_ids, "decoding")

    def scores(self, request_ids: Sequence[str]) -> dict[str, Row]:
        """The stored label scores among `request_ids`, by id; `logprobs` in nats, in the order of `labels`."""
        return self._by_request("scores", request_ids)

    def phases(self, run_id: str) -> list[Row]:
        """Every phase in order: {name, state, done, planned, accepted}.

        `state` is waiting, running or done, and stopped where the phase was under way when its run halted. `planned`
        and `accepted` are None where no event told them.
        """
        return progress.phases(self, self.run(run_id))

    def status(self, run_id: str) -> Row:
        """The run as one JSON-ready object: settings, state, phases, gates with their evidence, counts, times."""
        return progress.status(self, self.run(run_id))

    def samples(self, run_id: str, *, verdict: str | None = None, limit: int = 500, offset: int = 0) -> list[Row]:
        """A page of samples in order, each with instruction, verdict and `scores`, {critic: score}.

        `verdict` is None for a sample that has none yet; asking for one of accepted, rejected, unsure leaves out the
        rest. Raises ValueError for another word.
        """
        if verdict not in (None, *VERDICTS):
            raise ValueError(f"no verdict {verdict!r}: one of {', '.join(VERDICTS)}")
        rows = self.query(_SAMPLES, [run_id, verdict, limit, offset])
        judged = self.judgements(run_id, "sample", [row["sample_id"] for row in rows])
        for row in rows:
            row["scores"] = {item["critic"]: item["score"] for item in judged.get(row["sample_id"], [])}
        return rows

    def count_samples(self, run_id: str, verdict: str | None = None) -> int:
        """How many samples a run has, of one verdict or in all."""
        return int(self.query(_SAMPLES_COUNTED, [run_id, verdict])[0]["n"])

    def listing(self, run_id: str, choice: Selection) -> Listing:
        """The samples that a person chose, sorted, to be paged through. Raises StoreError for a wrong condition."""
        return Listing.of(self, run_id, choice)

    def page(self, listing: Listing, offset: int, limit: int, by: str | None = None) -> list[Row]:
        """Samples of a listing as `samples` gives them, in its order, each with the `person`'s label.

        It is what all say who labelled it, or, where `by` names a person, that person's own.
        """
        ids, run_id = listing.ids(offset, limit), listing.run_id
        found = {row["sample_id"]: row | {"scores": {}} for row in self.samples_by_id(run_id, ids)}
        subjects = ("subject_id", ids, run_id, "sample")
        for row in self._by_id("SELECT run_id, subject_kind, subject_id, critic, score FROM judgements", *subjects):
            found[row["subject_id"]]["scores"][row["critic"]] = row["score"]
        labels = self._by_id(f"SELECT run_id, subject_kind, subject_id, label FROM {labels_by(by)}", *subjects)
        label_of = {row["subject_id"]: row["label"] for row in labels}
        return [found[name] | {"person": label_of.get(name)} for name in ids if name in found]

    def samples_by_id(self, run_id: str, ids: Sequence[str]) -> list[Row]:
        """These samples in this order as `samples` gives them, but without scores; unknown ids are left out."""
        samples = self._by_id(
            "SELECT run_id, ordinal, sample_id, instruction_id, response, stop_reason, n_tokens FROM samples",
            "sample_id", ids, run_id,
        )  # fmt: skip
        found = {row["sample_id"]: row for row in self._described(run_id, samples)}
        return [found[name] for name in ids if name in found]

    def _described(self, run_id: str, samples: Sequence[Row]) -> list[Row]:
        """What `samples` gives but the scores, of rows of the table of samples."""
        instructions = self._by_id(
            "SELECT run_id, instruction_id, text, split FROM instructions",
            "instruction_id", [row["instruction_id"] for row in samples], run_id,
        )  # fmt: skip
        verdicts = self._by_id(
            "SELECT run_id, subject_kind, subject_id, verdict, basis, flags, reason FROM verdicts",
            "subject_id", [row["sample_id"] for row in samples], run_id, "sample",
        )  # fmt: skip
        text_of = {row["instruction_id"]: row for row in instructions}
        verdict_of = {row["subject_id"]: row for row in verdicts}
        found = []
        for row in samples:
            text, verdict = text_of.get(row["instruction_id"], {}), verdict_of.get(row["sample_id"], {})
            described = {name: row[name] for name in _OF_SAMPLE}
            described |= {"instruction": text.get("text"), "split": text.get("split")}
            described |= {name: verdict.get(name) for name in ("verdict", "basis", "reason")}
            found.append(described | {"flags": verdict.get("flags") or []})
        return found

    def _by_id(
        self, select: str, column: str, ids: Sequence[str], run_id: str, subject_kind: str | None = None
    ) -> list[Row]:
        """Rows by their ids in one column; of subjects, those of one kind.

        By that column alone, because DuckDB takes no index for a condition on more columns; the rest is left out here.
        Samples and instructions have such an index, what was said about them is scanned for.
        """
        if not ids:
            return []
        rows = self.query(f"{select} WHERE {_among(column, ids)}", list(ids))
        return [row for row in rows if row["run_id"] == run_id and subject_kind in (None, row.get("subject_kind"))]

    def _in_spec_order(self, run_id: str, rows: Iterable[Row]) -> list[Row]:
        """Rows that name a critic of a kind of subject: the spec names the preferred one first, others by name."""
        settings = self.query("SELECT settings->'$.critics' AS critics FROM runs WHERE run_id = ?", [run_id])
        named = json.loads(settings[0]["critics"] or "{}") if settings else {}

        def place(row: Row) -> tuple[int, str]:
            critics = preferred(named.get(row["subject_kind"], []))
            return critics.index(row["critic"]) if row["critic"] in critics else len(critics), row["critic"]

        return sorted(rows, key=place)

    def sample(self, run_id: str, sample_id: str, by: str | None = None) -> Row:
        """One sample with all that made it, for a detail pane. Raises NotFound.

        Beside what `samples` gives: raw, trimmed, prompt, seed, decoding, request_id, fingerprint and stop_text of its
        completion, `judgements` (rows, parts parsed), the instruction's row as `instruction_row` with
        `instruction_prompt`, its `instruction_judgements` and `instruction_verdict`, and the `person_label`: what all
        say who labelled it, or, where `by` names a person, that person's own.
        """
        if not (rows := self._by_id("SELECT * FROM samples", "sample_id", [sample_id], run_id)):
            known = self.query("SELECT sample_id FROM samples WHERE run_id = ? ORDER BY ordinal", [run_id])
            sample_id = _resolved("sample", sample_id, [str(row["sample_id"]) for row in known])
            rows = self._by_id("SELECT * FROM samples", "sample_id", [sample_id], run_id)
        found = next(iter(self._described(run_id, rows)))
        found["raw"], found["trimmed"] = rows[0]["raw"], json.loads(rows[0]["trimmed"])
        found["request_id"] = request_id = rows[0]["request_id"]
        completion = self.completions([request_id]).get(request_id, {})
        of_completion = ("prompt", "seed", "decoding", "fingerprint", "stop_text", "n_prompt_tokens", "created_at")
        found |= {name: completion.get(name) for name in of_completion}
        found["judgements"] = self.judgements(run_id, "sample", [sample_id]).get(sample_id, [])
        found["scores"] = {item["critic"]: item["score"] for item in found["judgements"]}

        instruction_id = found["instruction_id"]
        instructions = self._by_id("SELECT * FROM instructions", "instruction_id", [instruction_id], run_id)
        instruction = instructions[0] if instructions else None
        written_in = str(instruction["request_id"]) if instruction else ""
        found["instruction_row"] = instruction
        found["instruction_prompt"] = self.completions([written_in]).get(written_in, {}).get("prompt")
        judged = self.judgements(run_id, "instruction", [instruction_id])
        found["instruction_judgements"] = judged.get(instruction_id, [])
        found["instruction_verdict"] = self._about("verdicts", run_id, "instruction", instruction_id)
        found["person_label"] = self._about(labels_by(by), run_id, "sample", sample_id)
        return found

    def judgements(self, run_id: str, subject_kind: str, subject_ids: Sequence[str]) -> dict[str, list[Row]]:
        """The judgements of the given subjects, {subject_id: rows}, `parts` parsed, margins in nats.

        Rows of one subject stand in the order in which the spec names their critics.
        """
        select = "SELECT run_id, subject_kind, subject_id, critic, margin_nats, score, audited, parts FROM judgements"
        rows = _parsed(self._by_id(select, "subject_id", subject_ids, run_id, subject_kind), "parts")
        found: dict[str, list[Row]] = {}
        for row in self._in_spec_order(run_id, rows):
            del row["run_id"], row["subject_kind"]
            found.setdefault(row["subject_id"], []).append(row)
        return found

    def margins(self, run_id: str, critic: str, subject_kind: str) -> list[float]:
        """The finite scores of one critic, for a histogram: 0 at its zero point, positive good.

        At most MARGINS_AT_MOST of them, the first by subject: ids are hashes, so that is a draw without a favourite.
        """
        rows = self.query(
            "SELECT score FROM judgements WHERE run_id = ? AND critic = ? AND subject_kind = ? "
            f"ORDER BY subject_id LIMIT {MARGINS_AT_MOST}",
            [run_id, critic, subject_kind],
        )
        return [row["score"] for row in rows if math.isfinite(row["score"])]

    def gates(self, run_id: str) -> list[Row]:
        """The gates' checks, guard first, then pilot, then final, each with its evidence and its `result`.

        `passed` is true of a check that was tested and passed alone; `untested` says why one was not.
        """
        return progress.checks(self, run_id)

    def guard(self, run_id: str) -> list[Row]:
        """The guard's checks with prompt and answer, `measured` parsed, the aggregate ones last."""
        rows = self.query(
            "SELECT * FROM guard_checks WHERE run_id = ? ORDER BY "
            "list_position(['encoding', 'raw', 'formatted', 'aggregate'], condition) NULLS LAST, check_id",
            [run_id],
        )
        return _parsed(rows, "measured")

    def audits(self, run_id: str) -> list[Row]:
        """The critics' audits, in the order in which the spec names the critics; `detail` parsed."""
        rows = self.query("SELECT * FROM audits WHERE run_id = ? ORDER BY subject_kind, part", [run_id])
        ordered = self._in_spec_order(run_id, _parsed(rows, "detail"))
        return sorted(ordered, key=lambda row: str(row["subject_kind"]))

    def registration(self, run_id: str) -> Row | None:
        """The run's newest registration, its body as text; None where there is none."""
        rows = self.query(
            'SELECT * FROM registrations WHERE run_id = ? ORDER BY "at" DESC, registration_id DESC LIMIT 1', [run_id]
        )
        return rows[0] if rows else None

    def items_asked(self, run_id: str, condition: str | None = None) -> str | None:
        """The hash of the frozen set that was asked last, of all conditions or of one; None where none was."""
        rows = self.query(
            "SELECT items_sha256 FROM evaluation_answers WHERE run_id = $1 AND condition = coalesce($2, condition) "
            'ORDER BY "at" DESC LIMIT 1',
            [run_id, condition],
        )
        return str(rows[0]["items_sha256"]) if rows else None

    def events(self, run_id: str, limit: int = 200) -> list[Row]:
        """The last `limit` events, oldest first, `payload` parsed."""
        rows = self.query('SELECT * FROM events WHERE run_id = ? ORDER BY "at" DESC, seq DESC LIMIT ?', [run_id, limit])
        return _parsed(rows[::-1], "payload")

    def _by_request(self, table: str, request_ids: Sequence[str], *json_columns: str) -> dict[str, Row]:
        if not request_ids:
            return {}
        rows = self.query(f"SELECT * FROM {table} WHERE {_among('request_id', request_ids)}", list(request_ids))
        return {row["request_id"]: row for row in _parsed(rows, *json_columns)}

    def _about(self, table: str, run_id: str, subject_kind: str, subject_id: str) -> Row | None:
        rows = self._by_id(f"SELECT * FROM {table}", "subject_id", [subject_id], run_id, subject_kind)
        return rows[0] if rows else None

    def _sessions(self, run_ids: Sequence[str]) -> dict[str, Row]:
        """The latest session of each run."""
        rows = self.query(
            "SELECT run_id, pid, host FROM sessions WHERE run_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY started_at",
            [list(run_ids)],
        )
        return {row["run_id"]: row for row in rows}


def _among(column: str, ids: Sequence[str]) -> str:
    """A condition that an index answers; a subquery in place of the values would read the whole table."""
    return f"{column} IN ({', '.join('?' * len(ids))})"


def _parsed(rows: list[Row], *columns: str) -> list[Row]:
    for row in rows:
        for column in columns:
            if row[column] is not None:
                row[column] = json.loads(row[column])
    return rows


def _resolved(what: str, asked: str, known: Sequence[str]) -> str:
    """The one of `known` that `asked` is, or is the beginning of."""
    if asked in known:
        return asked
    begun = [name for name in known if asked and name.startswith(asked)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise NotFound(f"{asked!r} is the beginning of {len(begun)} {what}s", f"say which: {_listed(begun)}")
    if not known:
        raise NotFound(f"there is no {what} {asked!r}", f"there are no {what}s yet")
    near = difflib.get_close_matches(asked, known, n=3)
    raise NotFound(
        f"there is no {what} {asked!r}", f"did you mean {_listed(near)}?" if near else f"known: {_listed(known)}"
    )


def _listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
