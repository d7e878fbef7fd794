"""What the screen reads of reviews: the open question, what a reviewer said of it, and what it was asked with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store import Reader


def review_of(reader: Reader, run_id: str, question_id: str) -> dict[str, Any] | None:
    """The review that a question or a decision belongs to, as `engine.review.reviews` lists it, with its `prompt`.

    `question_id` is the id under which a person is asked, or that of a row of `decisions`. None where it is neither.
    """
    from engine.review import reviews
    from engine.review.trail import entries

    review_id = question_id.partition(".")[0]
    if question_id.startswith("review-"):
        seq = question_id.removeprefix("review-").lstrip("0")
        found = next((entry for entry in entries(reader, run_id) if str(entry.seq) == seq), None)
        review_id = found.review_id if found is not None else ""
    row = next((one for one in reviews(reader, run_id) if one["review_id"] == review_id), None)
    if row is None:
        return None
    asked = [entry for entry in entries(reader, run_id, review_id) if entry.kind == "request"]
    return {**row, "prompt": str(asked[0].body.get("prompt", "")) if asked else ""}
