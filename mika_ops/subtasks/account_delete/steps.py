"""The steps of an account delete, each for many requests at once: its cost grows with the shop, not with the requests.

This is the registry of the owned types: each step changes the documents or rows of one type, which ``owned`` describes.
A document that several requests own is changed for each of them, in the order of the requests, as if they had been
processed one after the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from mika_ops.clock import Clock
from mika_ops.host.host import Host
from mika_ops.subtasks.account_delete.owned import (
    account_exports,
    aggregates,
    customers,
    emails,
    entitlements,
    licenses,
    orders,
    provider_accounts,
    reservations,
    tokens,
)
from mika_ops.subtasks.account_delete.owned_documents import OwnedType, Requests, StepOutcome, change_owned
from mika_ops.subtasks.subtask import AccountDeleteScope


@dataclass(frozen=True)
class Step:
    """One step: ``kind`` is the type of its value; a value recorded earlier counts only if it has this type."""

    name: str
    run: Callable[[Host, Requests, Clock], StepOutcome]
    kind: type[int] | type[bool] = int


def steps_of(scope: AccountDeleteScope) -> tuple[Step, ...]:
    """Return the steps in order: the reference's eight, and with ``complete`` those for what the eight leave behind."""
    return _COMPLETE if scope == "complete" else _REFERENCE


def _changes(name: str, owned: OwnedType) -> Step:
    return Step(name, lambda host, requests, clock: change_owned(host, owned, requests, clock))


def _eight(*, complete: bool) -> tuple[Step, ...]:
    customer_keys = ("customerId", "emailHash", "userId") if complete else ("customerId", "emailHash")
    return (
        Step("tokensDeleted", tokens.delete),
        Step("reservationsReleased", reservations.release),
        _changes("emailsRedacted", emails.of_statuses("queued", "failed")),
        _changes("accountExportsRedacted", account_exports.ACCOUNT_EXPORTS),
        _changes("ordersAnonymized", orders.of_scope(complete=complete)),
        _changes("entitlementsAnonymized", entitlements.ENTITLEMENTS),
        _changes("licensesAnonymized", licenses.LICENSES),
        Step("customerAnonymized", partial(customers.anonymize, keys=customer_keys, complete=complete), bool),
    )


_REFERENCE: Final = _eight(complete=False)

_COMPLETE: Final = (
    *_eight(complete=True),
    _changes("sentEmailsRedacted", emails.of_statuses("sent", "skipped")),
    _changes("providerAccountsRedacted", provider_accounts.PROVIDER_ACCOUNTS),
    _changes("subscriptionsAnonymized", aggregates.SUBSCRIPTIONS),
    _changes("cartsAnonymized", aggregates.CARTS),
    _changes("ordersUserIdsAnonymized", orders.BY_USER),
)
