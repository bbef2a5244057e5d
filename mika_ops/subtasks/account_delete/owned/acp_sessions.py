"""ACP checkout sessions: kept until they are purged, without the buyer and the address."""

from mika_ops.clock import Clock
from mika_ops.documents.document import Document
from mika_ops.documents.repository import Change
from mika_ops.host.host import Host
from mika_ops.ports.acp_sessions import AcpSessionEditor
from mika_ops.rules import acp_session, person
from mika_ops.rules.person import handles_in_acp_session
from mika_ops.subtasks.account_delete.owned_documents import People, Requests, StepOutcome


def redact(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Take the people out of the ACP sessions of their checkouts, where the host's store can change sessions."""
    counts = dict.fromkeys(requests, 0)
    store = host.acp_sessions
    if not isinstance(store, AcpSessionEditor):
        return StepOutcome(counts)
    people = People(requests, person.owns)

    def rule(_id: str, session: Document) -> Change[tuple[str, ...]] | None:
        owners = people.known_by(handles_in_acp_session(session))
        if not owners or not acp_session.names_buyer(session):
            return None
        owner_ids = tuple(people.requests[number][0] for number in owners)
        return Change(acp_session.without_buyer(session, now=clock.stamp()), owner_ids)

    for change in store.change_sessions(rule).changed.values():
        for request_id in change.note:
            counts[request_id] += 1
    return StepOutcome(counts)
