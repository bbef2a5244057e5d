"""Recording: attempts that have ended -> what their documents say of them, several in one transaction."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from mika_ops.clock import Clock
from mika_ops.documents.document import Document, record_of
from mika_ops.documents.repository import Change, DocumentRepository, RepositoryUnreachable
from mika_ops.email.outbox.attempts import Attempt
from mika_ops.email.outbox.leaser import release
from mika_ops.email.outbox.persistence import LeasePersistence
from mika_ops.email.outbox.record_size import RecordSize
from mika_ops.ports.email import DrainedEmail, EmailSkipped, SenderUnavailable, SendResult
from mika_ops.redaction import describe_error
from mika_ops.rules import email

logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorded:
    """What was recorded: the emails whose end is known now, how many were released, and what could not be written."""

    emails: Sequence[DrainedEmail]
    released: int
    error: str | None


@dataclass
class Recorder:
    """Records attempts by group commit: those that end together share one transaction.

    One thread at a time may call ``record``, and ``size`` may be read only while none does. The recorder knows nothing
    of the drain that it records for, so it may run beside it.
    """

    ops: DocumentRepository
    clock: Clock
    retry_delay: Callable[[int], timedelta]
    timer: Callable[[], float]
    concurrency: int
    persistence: LeasePersistence
    _record_size: RecordSize = field(init=False)

    def __post_init__(self) -> None:
        self._record_size = RecordSize(self.concurrency)

    @property
    def size(self) -> int:
        """How many attempts the next record may hold."""
        return self._record_size.size

    def record(self, attempts: Sequence[Attempt]) -> Recorded:
        """Write how the attempts ended, and release the emails that could not reach the provider."""
        for attempt in attempts:
            self._record_size.sent(attempt.seconds)
        unsent = [attempt.leased for attempt in attempts if isinstance(attempt.result, SenderUnavailable)]
        ended = {
            attempt.leased.id: attempt for attempt in attempts if not isinstance(attempt.result, SenderUnavailable)
        }
        delays = {id_: self._delay_after(attempt) for id_, attempt in ended.items()}
        started = self.timer()
        changed, error = self._write(ended, delays)
        released = release(unsent, self.ops, self.clock, self.persistence)
        self._record_size.recorded(len(attempts), self.timer() - started)
        return Recorded([_to_report(ended[id_], change) for id_, change in changed.items()], released, error)

    def _write(
        self, ended: Mapping[str, Attempt], delays: Mapping[str, timedelta]
    ) -> tuple[Mapping[str, Change[bool] | None], str | None]:
        """Write the ends by id; ``None`` stands for an email that another worker holds by now.

        While the storage cannot be reached, this goes on as long as the leases last. Where the transaction fails
        otherwise, each email is written by itself, so that one does not undo the record of the others. One that cannot
        be written at all is missing from the result, and the error names it.
        """
        if not ended:
            return {}, None

        def rule(id_: str, document: Document) -> Change[bool] | None:
            return self._with_end(document, ended[id_], delays[id_])

        try:
            seen = {id_: attempt.leased.document for id_, attempt in ended.items()}
            leased = [attempt.leased for attempt in ended.values()]
            written = self.persistence.write(lambda: self.ops.change(list(ended), rule, wait=True, seen=seen), leased)
            return {id_: written.changed.get(id_) for id_ in ended}, None
        except RepositoryUnreachable as failure:
            return {}, _not_recorded(", ".join(ended), failure)
        except Exception:  # noqa: BLE001 - reported below, email by email
            changed: dict[str, Change[bool] | None] = {}
            error = None
        for id_ in ended:
            try:
                write = partial(self.ops.change, [id_], rule, wait=True)
                changed[id_] = self.persistence.write(write, [ended[id_].leased]).changed.get(id_)
            except Exception as failure:  # noqa: BLE001 - the others must be recorded
                error = _not_recorded(id_, failure)
        return changed, error

    def _with_end(self, document: Document, attempt: Attempt, delay: timedelta) -> Change[bool] | None:
        """Return the document with the attempt's end; the change's note says whether the lease was still held."""
        now, result = self.clock.stamp(), attempt.result
        held = email.holds_lease(document, key=attempt.leased.key, now=now)
        if isinstance(result, SendResult):
            # It was sent, so it must never be sent again, whoever holds it now.
            if not held and email.is_sent(document):
                return None
            return Change(email.sent(document, now=now, provider_message_id=result.provider_message_id), held)
        if not held:
            return None
        sentence = describe_error(result)
        if isinstance(result, EmailSkipped):
            return Change(email.skipped(document, reason=sentence, now=now), held)
        return Change(email.failed(document, error=sentence, now=now, retry_after=delay), held)

    def _delay_after(self, attempt: Attempt) -> timedelta:
        """Return the wait after a failed attempt, from the host's function or, where that fails, from the rules."""
        if isinstance(attempt.result, SendResult | EmailSkipped):
            return timedelta(0)
        number = record_of(attempt.leased.document)["attemptCount"]
        try:
            delay = self.retry_delay(number)
            if isinstance(delay, timedelta):
                return delay
            failure: Exception = TypeError(f"it returned {type(delay).__name__}, not timedelta")
        except Exception as raised:  # noqa: BLE001 - a host's function must not undo the record of what was sent
            failure = raised
        logger.warning("retry_delay returned no delay after attempt %s: %s", number, describe_error(failure))
        return email.retry_delay(number)


def _not_recorded(ids: str, failure: Exception) -> str:
    return f"the result of email {ids} could not be recorded, so it may be sent again: {describe_error(failure)}"


def _to_report(attempt: Attempt, change: Change[bool] | None) -> DrainedEmail:
    """Return what the drain reports of an email; without a change, another worker holds it by now."""
    id_, result = attempt.leased.id, attempt.result
    if isinstance(result, SendResult):
        recovered = None if change is not None and change.note else True
        return DrainedEmail(id_, "sent", result.provider_message_id, recovered_lease_lost=recovered)
    sentence = describe_error(result)
    if change is None or change.document is None:
        return DrainedEmail(id_, "lease_lost", error=sentence)
    if isinstance(result, EmailSkipped):
        return DrainedEmail(id_, "skipped", error=sentence)
    return DrainedEmail(
        id_,
        "failed",
        error=sentence,
        next_attempt_at=record_of(change.document).get("nextAttemptAt"),
        terminal=email.is_exhausted(change.document),
    )
