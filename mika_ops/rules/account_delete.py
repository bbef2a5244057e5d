"""Account-delete requests: whose data to delete, which steps are done, and the request's own states.

Source: behaviour, section 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from mika_ops.documents.document import ABSENT, Document, is_storable, metadata_of, patched, record_of, with_record
from mika_ops.documents.selection import Has, Not, OneOf, Selection, all_of, record, top
from mika_ops.timestamps import Timestamp

MIRRORED: Final = ("customerId", "userId", "emailHash", "status", "expiresAt")

StepValue = int | float | bool
"""How many documents or rows a step changed; for the customer document, whether there was one."""


@dataclass(frozen=True)
class Identity:
    """The person that a request is about, by whichever of the three keys the request has."""

    customer_id: str | None = None
    user_id: str | None = None
    email_hash: str | None = None

    @classmethod
    def of(cls, request: Document) -> Self:
        """Read the identity from a request's record. Raises ``MalformedDocument`` where it has none."""
        keys = record_of(request)
        return cls(*(_text(keys.get(field)) for field in ("customerId", "userId", "emailHash")))

    @property
    def keys(self) -> Mapping[str, str]:
        """The keys that there are, each by its name in a document."""
        named = {"customerId": self.customer_id, "userId": self.user_id, "emailHash": self.email_hash}
        return {name: value for name, value in named.items() if value is not None}

    @property
    def unusable_keys(self) -> tuple[str, ...]:
        """The names of the keys that cannot be used in a query."""
        return tuple(name for name, value in self.keys.items() if not is_storable(value))

    @property
    def sentinel(self) -> str | None:
        """What takes the place of the person's keys, or ``None`` where the request names nobody."""
        if self.customer_id:
            return f"account-deleted:{self.customer_id}"
        if self.email_hash:
            return f"account-deleted-email:{self.email_hash}"
        if self.user_id:
            return f"account-deleted-user:{self.user_id}"
        return None

    @property
    def token_subjects(self) -> tuple[str, ...]:
        """The subjects under which the person's tokens are stored. A bare user id is none of them."""
        subjects = []
        if self.customer_id:
            subjects += [self.customer_id, f"customer:{self.customer_id}"]
        if self.user_id:
            subjects.append(f"user:{self.user_id}")
        if self.email_hash:
            subjects += [self.email_hash, f"email:{self.email_hash}"]
        return tuple(subjects)


@dataclass(frozen=True)
class CompletedStep:
    """A step that is done: what it did, and when."""

    value: StepValue
    completed_at: Timestamp


_REQUEST: Final = OneOf(top("type"), ("accountDeleteRequest",))

QUEUED: Final = Selection(
    collection="ops",
    top=all_of(_REQUEST, OneOf(top("status"), ("queued",))),
    record=all_of(),
    order_by=(top("createdAt"),),
)
"""The requests that wait, oldest first."""

PERMANENTLY_FAILED: Final = Selection(
    collection="ops",
    top=all_of(_REQUEST, OneOf(top("status"), ("failed",))),
    record=all_of(),
    order_by=(top("createdAt"),),
)
"""The requests that failed, oldest first: each needs manual action."""

LAST_FURTHER_STEP: Final = "customerDataRemoved"
"""The last of the steps that go beyond the reference's eight: a request that has it has all of them."""

COMPLETED: Final = Selection(
    collection="ops",
    top=all_of(_REQUEST, OneOf(top("status"), ("completed",))),
    record=all_of(),
    order_by=(top("createdAt"),),
)
"""The requests that are completed, oldest first."""

UNCHECKED: Final = replace(
    COMPLETED, record=Not(Has(record("metadata", "maintenance", "steps", LAST_FURTHER_STEP, "status")))
)
"""Those of them that were completed without the further steps: by the site's own maintenance, or by the scope
``reference``."""


def is_completed(request: Document) -> bool:
    """Say whether the request is completed."""
    return request.get("status") == "completed"


def is_queued(request: Document) -> bool:
    """Say whether the request still waits."""
    return request.get("status") == "queued"


def recorded_value(request: Document, step: str, kind: type[int] | type[bool]) -> StepValue | None:
    """Return what a step did, where it is recorded as completed with a value of its kind; else ``None``.

    ``True`` is not a number, and 1 is not a truth value: such a step is run again.
    """
    entry = _steps_of(request).get(step)
    if not isinstance(entry, dict) or entry.get("status") != "completed":
        return None
    result = entry.get("result")
    value = result.get("value") if isinstance(result, dict) else None
    if isinstance(value, bool):
        return value if kind is bool else None
    return value if isinstance(value, int | float) and kind is int else None


def has_recorded_steps(request: Document) -> bool:
    """Say whether any step was ever recorded, whatever it says: such a request is resumed rather than failed."""
    return bool(_steps_of(request))


def with_steps(request: Document, steps: Mapping[str, CompletedStep], *, now: Timestamp) -> Document:
    """Record steps as completed; what else stands under the request's maintenance metadata stays."""
    return with_record(request, {**_with_step_entries(request, steps), "lastError": ABSENT}, mirrored=MIRRORED, now=now)


def completed(
    request: Document, steps: Mapping[str, CompletedStep], values: Mapping[str, StepValue], *, now: Timestamp
) -> Document:
    """Complete a request: record the last steps and every step's value, and forget whom it was about."""
    metadata = _with_step_entries(request, steps)["metadata"]
    return with_record(
        request,
        {
            "status": "completed",
            "completedAt": now,
            "userId": ABSENT,
            "emailHash": ABSENT,
            "confirmTokenHash": ABSENT,
            "lastError": ABSENT,
            "metadata": {**metadata, "maintenance": {**metadata["maintenance"], **values}},
        },
        mirrored=MIRRORED,
        now=now,
    )


def rechecked(
    request: Document, steps: Mapping[str, CompletedStep], values: Mapping[str, StepValue], *, now: Timestamp
) -> Document:
    """Record what the further steps did for a request that was completed before; when it was completed stays."""
    metadata = _with_step_entries(request, steps)["metadata"]
    maintenance = {**metadata["maintenance"], **values}
    return with_record(request, {"metadata": {**metadata, "maintenance": maintenance}}, mirrored=MIRRORED, now=now)


def times_of_steps(request: Document) -> frozenset[Timestamp]:
    """Return when the recorded steps of a request were completed."""
    entries = (entry for entry in _steps_of(request).values() if isinstance(entry, dict))
    return frozenset(time for entry in entries if isinstance(time := entry.get("completedAt"), str))


def failed(request: Document, *, error: str, now: Timestamp) -> Document:
    """Record why a request failed: it stays queued where a step was ever recorded, so that the next run resumes it."""
    status = {} if has_recorded_steps(request) else {"status": "failed"}
    return with_record(request, {**status, "lastError": error}, mirrored=MIRRORED, now=now)


def _with_step_entries(request: Document, steps: Mapping[str, CompletedStep]) -> Document:
    metadata = metadata_of(record_of(request))
    maintenance = metadata.get("maintenance")
    entries = {
        name: {"status": "completed", "completedAt": step.completed_at, "result": {"value": step.value}}
        for name, step in steps.items()
    }
    return {
        "metadata": patched(
            metadata,
            {
                "maintenance": patched(
                    maintenance if isinstance(maintenance, dict) else {},
                    {"steps": {**_steps_of(request), **entries}},
                )
            },
        )
    }


def _steps_of(request: Document) -> Document:
    maintenance = metadata_of(record_of(request)).get("maintenance")
    steps = maintenance.get("steps") if isinstance(maintenance, dict) else None
    return steps if isinstance(steps, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
