"""Reviews of methodology: a question, whoever answers it, the record of both, and what the run does next."""

from engine.core.key import Key, find_key
from engine.review.context import asks, context_of
from engine.review.desk import Desk
from engine.review.document import document
from engine.review.door import open_desk, request_codex_review
from engine.review.form import Outcome, Review
from engine.review.listing import current_approval, reviews
from engine.review.model import ModelReviewer, ModelSettings
from engine.review.prompt import Context, Section, evidence_sha256
from engine.review.reviewers import Chain, PersonReviewer, PolicyReviewer
from engine.review.state import modify
from engine.review.verify import verify

__all__ = [
    "Chain",
    "Context",
    "Desk",
    "Key",
    "ModelReviewer",
    "ModelSettings",
    "Outcome",
    "PersonReviewer",
    "PolicyReviewer",
    "Review",
    "Section",
    "asks",
    "context_of",
    "current_approval",
    "document",
    "evidence_sha256",
    "find_key",
    "modify",
    "open_desk",
    "request_codex_review",
    "reviews",
    "verify",
]
