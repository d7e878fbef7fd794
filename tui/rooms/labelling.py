"""Labels by a person: kept, undone, asked for where they teach most or to be read blind, and the probe fitted on them.

What is drawn to be read tells nothing of a verdict until the person leaves it, and no share until all of it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.binding import Binding, BindingType
from textual.content import Content

from store.names import BLIND, READING
from tui.messages import AskWanted, RunWanted, WriteWanted
from tui.rooms.listing import ListingRoom
from tui.rooms.wish import Found
from tui.widgets.endless import PAGE
from tui.widgets.samples.table import SamplesTable
from tui.words.questions import Choice, DockedQuestion
from tui.words.text import one_line
from tui.words.wording import agreement, labelling

if TYPE_CHECKING:
    from engine.quality.queue import LabelStanding
    from store.db import Store
    from store.read import Reader


def label_keys() -> list[BindingType]:
    return [
        Binding("y", "mark('good')", "Good", id="samples.good", show=False, tooltip="Label it good, go to the next"),
        Binding("b", "mark('bad')", "Bad", id="samples.bad", show=False, tooltip="Label it bad, go to the next"),
        Binding("d", "mark('unsure')", "Doubt", id="samples.doubt", show=False,
                tooltip="Label it unsure, go to the next"),
        Binding("U", "undo", "Undo", id="samples.undo", show=False,
                tooltip="Take the last label back, in the queue also u; then the one under the cursor"),
        Binding("Q", "queue", "Queue", id="samples.queue", show=False,
                tooltip="Label what teaches most, blind, every tenth at random"),
        Binding("B", "readings", "Read blind", id="samples.readings", show=False,
                tooltip="Read candidates drawn at random, accepted and rejected mixed, without their verdict"),
        Binding("R", "refit", "Refit", id="samples.refit", show=False,
                tooltip="Fit the probe on all labels and decide anew, with a reason"),
    ]  # fmt: skip


@dataclass
class _Given:
    """A label that was given here: `before` is the row in whose place it stands, known once it is written."""

    sample_id: str
    label: str = ""
    moved_to: int | None = None  # where the cursor went then
    before: dict[str, Any] | None = None
    written: bool = False
    unwanted: bool = False  # undone before it was written


@dataclass(frozen=True)
class _Queue:
    """The queue as it was read: how each of its samples was drawn; of what is read blind also the `labels` so far."""

    drawn: Mapping[str, str]
    blind: bool  # whether the table was blind before
    labels: dict[str, str | None] | None = None


class LabellingRoom(ListingRoom):
    """The part of the room Samples that labels."""

    _run_id = ""
    _active = False
    _queue: _Queue | None = None
    _standing: LabelStanding | None = None
    _given: list[_Given]

    @property
    def table(self) -> SamplesTable:
        return self.query_one(SamplesTable)

    def want(self, *, top: bool = False) -> None:
        """List anew."""
        raise NotImplementedError

    def _open(self, sample_id: str) -> None:
        raise NotImplementedError

    def _paint(self) -> None:
        raise NotImplementedError

    def show_blind(self, blind: bool) -> None:
        """Hide verdicts and margins, or show them."""
        raise NotImplementedError

    # -- giving and taking back --------------------------------------------------------------------------------------

    def action_mark(self, label: str, note: str | None = None, step: int = 1) -> None:
        """Keep a label; without a `note` the one that is stored stays."""
        line = self.table.row_at(self.table.cursor)
        if line is not None:
            self.keep_label(line["sample_id"], label, note, step)

    def keep_label(self, sample_id: str, label: str, note: str | None = None, step: int = 0) -> None:
        """Keep the label of a sample, wherever the cursor is, and move that on."""
        given, run_id, by = _Given(sample_id, label), self._run_id, self.reads_as
        drawn = self._queue.drawn.get(given.sample_id, "") if self._queue is not None else ""

        def write(store: Store) -> tuple[dict[str, Any] | None, list[dict[str, Any]], LabelStanding]:
            from engine.quality.labels import mark, stored_label  # not before the first frame: it brings scipy
            from engine.quality.queue import standing
            from store.names import CHOSEN

            with store.reader() as reader:
                before = stored_label(reader, run_id, given.sample_id, by)
                audits = mark(store, run_id, given.sample_id, label, note, drawn or CHOSEN, by=by)
                return before, audits, standing(reader, run_id)

        def written(found: tuple[dict[str, Any] | None, list[dict[str, Any]], LabelStanding]) -> None:
            given.before, given.written = found[0], True
            self._labelled(given.sample_id, label, found[1], found[2])
            if given.unwanted:
                self._take_back(given)

        self._given.append(given)
        self.post_message(WriteWanted("keeping a label", write, written))
        if step:
            self.table.action_step(step)
            given.moved_to = self.table.cursor

    def to_be_noted(self) -> tuple[str, str] | None:
        """The sample that a note is about now, and its label; None where there is no label to go with.

        A label moves the cursor on: until something else does, a note follows that label.
        """
        last = self._given[-1] if self._given else None
        if last is not None and last.moved_to == self.table.cursor:
            return last.sample_id, last.label
        here = self.table.row_at(self.table.cursor)
        return (here["sample_id"], here["person"]) if here is not None and here.get("person") else None

    def action_undo(self) -> None:
        """Take back the last label of this sitting; where none is left, the one under the cursor."""
        if self._given:
            given = self._given.pop()
            if given.written:
                self._take_back(given)
            given.unwanted = True
            return
        here = self.table.row_at(self.table.cursor)
        if here is None or not here.get("person"):
            self.notify("No label is left to take back, and the sample under the cursor has none.")
            return
        self._take_back(_Given(here["sample_id"]))

    def _take_back(self, given: _Given) -> None:
        run_id, by = self._run_id, self.reads_as

        def write(store: Store) -> tuple[list[dict[str, Any]], LabelStanding]:
            from engine.quality.labels import put_back
            from engine.quality.queue import standing

            audits = put_back(store, run_id, given.sample_id, given.before, by)
            with store.reader() as reader:
                return audits, standing(reader, run_id)

        def written(found: tuple[list[dict[str, Any]], LabelStanding]) -> None:
            at = None if self._listing is None else self._listing.position(given.sample_id)
            if at is not None:
                self.table.cursor = at
            before = given.before or {}
            self._labelled(given.sample_id, before.get("label"), *found, read=before.get("drawn") in BLIND)

        self.post_message(WriteWanted("taking a label back", write, written))

    def _labelled(
        self, sample_id: str, label: str | None, audits: list[dict[str, Any]], standing: LabelStanding, *,
        read: bool = True,
    ) -> None:  # fmt: skip
        """Show a label as it is now, and what all of them say; `read` is whether it counts as a reading."""
        self._standing = standing
        if self._queue is not None and self._queue.labels is not None and sample_id in self._queue.labels:
            self._queue.labels[sample_id] = label if read else None
        at = None if self._listing is None else self._listing.position(sample_id)
        line = None if at is None else self.table.row_at(at)
        if at is not None and line is not None:
            line["person"] = label
            self.table.forget_line(at)
        here = self.table.row_at(self.table.cursor)
        if here is not None and here["sample_id"] == sample_id:  # else the next one is on its way
            self._open(sample_id)
        told = agreement([audit for audit in audits if audit["part"] == "person"])
        if self._queue is not None:
            told = self.progress
        elif standing.unlearnt:
            told = f"{standing.unlearnt:,} newer than the fit, R refits · {told}"
        self.query_one("#samples-list").border_subtitle = Content(one_line(told, 120))

    # -- the queue ---------------------------------------------------------------------------------------------------

    @property
    def progress(self) -> str:
        """How far labelling is, and the key that makes use of it."""
        if self._queue is not None and self._queue.labels is not None:
            read, drawn = sum(label is not None for label in self._queue.labels.values()), len(self._queue.labels)
            return f"{read:,} of {drawn:,} read" + (" · B shows what they say" if drawn and read == drawn else "")
        if self._standing is None:
            return ""
        return labelling(self._standing) + (" · R refits" if self._standing.unlearnt else "")

    def action_queue(self) -> None:
        """Turn the queue on, or go back to the list."""
        if self._queue is not None:
            self.leave_queue()
            self.want(top=True)
        elif self._run_id:
            self._enter(_Queue({}, self.table.blind))

    def action_readings(self) -> None:
        """Read what was drawn to be read, or go back to the list."""
        if self._queue is not None and self._queue.labels is not None:
            self.leave_queue()
            self.want(top=True)
        else:
            self.begin_reading()

    def begin_reading(self) -> None:
        """List what was drawn to be read, from the first that nobody has read."""
        self.leave_queue()
        if self._run_id:
            self._enter(_Queue({}, self.table.blind, {}))

    def _enter(self, queue: _Queue) -> None:
        self._queue = queue
        self.show_blind(True)
        self.want(top=True)
        self.refresh_bindings()

    def leave_queue(self) -> None:
        """List by the wish again, seeing what was seen before."""
        queue, self._queue = self._queue, None
        if queue is not None:
            self.show_blind(queue.blind)
            self.refresh_bindings()
            if queue.labels:
                self._tell_readings()

    def _tell_readings(self) -> None:
        """What was read is told, now that nothing is hidden, and every page reads it again."""
        run_id = self._run_id

        def read(reader: Reader) -> str:
            from store.headline import read_words, readings_of

            return read_words(readings_of(reader, [run_id])[run_id])[0]

        def arrived(told: str) -> None:
            self.notify(f"{told[:1].upper()}{told[1:]}", markup=False)
            if run_id == self._run_id:
                self.post_message(RunWanted("look", run_id))

        self.look_up("reading what was read", read, arrived)

    def want_queue(self, seek: str) -> None:
        """List the queue as it is now, the cursor on the sample `seek` where it is still in it."""
        if self._queue is not None and self._queue.labels is not None:
            self._want_readings(seek)
            return
        run_id, by = self._run_id, self.reads_as

        def read(reader: Reader) -> tuple[Found, dict[str, str], LabelStanding]:
            from engine.quality.queue import places, standing
            from store.listing import Listing

            queue = places(reader, run_id)
            listing = Listing.of_ids(run_id, [place.sample_id for place in queue])
            at = (listing.position(seek) if seek else None) or 0
            first = at // PAGE * PAGE
            drawn = {place.sample_id: place.drawn for place in queue}
            return (listing, at, first, reader.page(listing, first, PAGE, by)), drawn, standing(reader, run_id)

        def arrived(found: tuple[Found, dict[str, str], LabelStanding]) -> None:
            if self._queue is not None and self._queue.labels is None and run_id == self._run_id:
                self._queue, self._standing = _Queue(found[1], self._queue.blind), found[2]
                self.listed(found[0])

        self.look_up("listing what teaches most", read, arrived)

    def _want_readings(self, seek: str) -> None:
        run_id, by = self._run_id, self.reads_as

        def read(reader: Reader) -> tuple[Found, dict[str, str | None]]:
            from engine.quality.readings import to_read
            from store.listing import Listing

            lots = to_read(reader, run_id, by)
            listing = Listing.of_ids(run_id, [lot.sample_id for lot in lots])
            unread = next((at for at, lot in enumerate(lots) if lot.label is None), 0)
            at = listing.position(seek) if seek else None
            at = unread if at is None else at
            first = at // PAGE * PAGE
            labels = {lot.sample_id: lot.label for lot in lots}
            return (listing, at, first, reader.page(listing, first, PAGE, by)), labels

        def arrived(found: tuple[Found, dict[str, str | None]]) -> None:
            if self._queue is not None and self._queue.labels is not None and run_id == self._run_id:
                self._queue = _Queue(dict.fromkeys(found[1], READING), self._queue.blind, found[1])
                self.listed(found[0])

        self.look_up("drawing what is read", read, arrived)

    def listed(self, found: Found) -> None:
        """Show a listing that was read."""
        raise NotImplementedError

    # -- fitting -----------------------------------------------------------------------------------------------------

    def action_refit(self) -> None:
        """Ask for a reason, and have the probe fitted on every label of the model in the store."""
        run_id = self._run_id
        if not run_id:
            return
        if self._active:
            self.notify("The run is going on with its probe. Stop it first (Esc, then s), then refit.")
            return

        def read(reader: Reader) -> LabelStanding:
            from engine.quality.queue import standing

            return standing(reader, run_id)

        self.look_up("counting labels", read, self._ask_to_refit)

    def _ask_to_refit(self, standing: LabelStanding) -> None:
        run_id = self._run_id
        if standing.unlearnt is None:
            self.notify("No probe judges the samples of this run: begin one with critics.sample=[probe].")
            return
        if not standing.unlearnt:
            self.notify("The probe was fitted on all labels that there are. Q asks for more.")
            return
        question = DockedQuestion(
            f"refit:{run_id}",
            "Refit the probe",
            f"{standing.unlearnt:,} labels are newer than the fit. The model is loaded, the probe fitted on them too, "
            "and every sample judged and decided anew; the decision is kept with your reason.",
            (Choice("y", "refit", "refit", asks="why"), Choice("n", "leave it", "leave")),
            on_escape="leave",
        )

        def answered(answer: str, reason: str) -> None:
            if answer == "refit":
                self.post_message(RunWanted("refit", run_id, {"reason": reason}))

        self.post_message(AskWanted(question, answered))
