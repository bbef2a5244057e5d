"""Tokens and cache markers: rows of the ephemeral table, deleted by the subjects that a person has."""

from mika_ops.clock import Clock
from mika_ops.host.host import Host
from mika_ops.subtasks.account_delete.owned_documents import Requests, StepOutcome
from mika_ops.subtasks.subtask import required


def delete(host: Host, requests: Requests, _clock: Clock) -> StepOutcome:
    """Delete the people's tokens and cache markers."""
    subjects = {subject: None for person in requests.values() for subject in person.token_subjects}
    deleted = dict(required(host.ephemeral).delete_tokens(tuple(subjects)) if subjects else {})
    return StepOutcome(
        {
            request_id: sum(deleted.pop(subject, 0) for subject in person.token_subjects)
            for request_id, person in requests.items()
        }
    )
