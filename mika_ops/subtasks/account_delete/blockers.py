"""What blocks an account delete."""

from mika_ops.documents.selection import (
    OneOf,
    Selection,
    all_of,
    top,
)
from mika_ops.documents.sweep import Sweep
from mika_ops.host.host import Host
from mika_ops.rules import personal_data
from mika_ops.subtasks.account_delete.owned_documents import Requests, key_values
from mika_ops.subtasks.subtask import required


def blocked_requests(host: Host, requests: Requests) -> dict[str, str]:
    """Return which requests must not be processed yet, with the reason: a live subscription or an open checkout."""
    customers = key_values(requests, "customerId")
    if not customers:
        return {}
    live = all_of(
        OneOf(top("type"), ("subscription",)),
        OneOf(top("customerId"), customers),
        personal_data.LIVE_SUBSCRIPTION,
    )
    pending = all_of(
        OneOf(top("type"), ("cart",)), OneOf(top("customerId"), customers), personal_data.CHECKOUT_IN_PROGRESS
    )
    reasons: dict[str, str] = {}
    for repository, selection, reason in (
        (required(host.session), Selection("session", pending), "the customer has a checkout in progress"),
        (required(host.account), Selection("account", live), "the customer has a subscription that is not cancelled"),
    ):
        sweep = Sweep(repository, selection, "account_delete_requests")
        for ids in sweep.batches():
            for document in repository.read(ids).values():
                reasons[document["customerId"]] = reason
    return {
        request_id: f"{reasons[blocked[0]]}; end it, then queue the request again"
        for request_id, person in requests.items()
        if (blocked := sorted(person.values("customerId") & reasons.keys()))
    }
