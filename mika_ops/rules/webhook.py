"""Stored payment webhooks: when the provider's raw payload has been kept for long enough, and taking it out.

Source: behaviour, section 5.
"""

from datetime import timedelta
from math import isfinite
from typing import Final

from mika_ops.documents.document import ABSENT, Document, record_of, with_record
from mika_ops.documents.selection import AtMost, Has, Not, OneOf, Selection, all_of, any_of, record, top
from mika_ops.timestamps import Timestamp, shifted

MIRRORED: Final = ("status", "nextAttemptAt", "receivedAt")

DEFAULT_RETENTION_DAYS: Final = 14.0


def retention_cutoff(now: Timestamp, retention_days: float) -> Timestamp:
    """Return the time before which payloads are purged; negative and non-finite days count as none."""
    days = max(0.0, retention_days) if isfinite(retention_days) else 0.0
    return shifted(now, -timedelta(days=min(days, timedelta.max.days)))


_PURGED: Final = Has(record("rawPayloadPurgedAt"))


PURGEABLE: Final = Selection(
    collection="ops",
    top=OneOf(top("type"), ("webhook",)),
    record=all_of(
        AtMost(record("receivedAt")),
        Has(record("rawPayloadJson")),
        Not(_PURGED),
        any_of(OneOf(top("status"), ("processed",)), Has(record("normalizedPayloadJson"))),
    ),
    order_by=(top("receivedAt"),),
    finished=_PURGED,
)
"""The webhooks received at most at the selection's time whose raw payload exists and is not needed, oldest first.

The time is the end of the retention: see ``retention_cutoff``.
"""


def last_error(document: Document) -> str | None:
    """Return why the site last failed to process the webhook, or ``None`` where it does not say."""
    error = record_of(document).get("lastError")
    return error if isinstance(error, str) and error else None


def purged(document: Document, *, now: Timestamp) -> Document:
    """Take the raw payload out; everything else of the webhook stays."""
    return with_record(document, {"rawPayloadJson": ABSENT, "rawPayloadPurgedAt": now}, mirrored=MIRRORED, now=now)
