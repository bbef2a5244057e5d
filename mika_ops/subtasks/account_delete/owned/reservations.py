"""Stock reservations: rows of the stock tables, released by customer."""

from mika_ops.clock import Clock
from mika_ops.documents.sweep import IDS_NAMED
from mika_ops.host.host import Host
from mika_ops.rules.account_delete import StepValue
from mika_ops.subtasks.account_delete.owned_documents import Requests, StepOutcome, key_values
from mika_ops.subtasks.subtask import required


def release(host: Host, requests: Requests, clock: Clock) -> StepOutcome:
    """Release the customers' stock reservations; an orphaned one fails the step for its customer only."""
    customers = key_values(requests, "customerId")
    released = dict(required(host.stock).release_customers(customers, now=clock.stamp()) if customers else {})
    values: dict[str, StepValue] = {}
    errors: dict[str, str] = {}
    for request_id, person in requests.items():
        # Reservations that several requests ask for are the first one's.
        found = [released.pop(id_) for id_ in sorted(person.values("customerId")) if id_ in released]
        values[request_id] = sum(reservations.released for reservations in found)
        orphans = [orphan for reservations in found for orphan in reservations.orphans]
        if orphans:
            errors[request_id] = (
                "reservations of the customer point to stock items that do not exist; restore the items or "
                f"delete these rows of mika_stock_events: {', '.join(orphans[:IDS_NAMED])}"
            )
    return StepOutcome(values, errors)
