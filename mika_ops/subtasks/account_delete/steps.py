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
from mika_ops.rules.account_delete import LAST_FURTHER_STEP
from mika_ops.rules.person import HandleKind
from mika_ops.subtasks.account_delete.owned import (
    account_exports,
    acp_sessions,
    aggregates,
    checkouts,
    customers,
    earlier_requests,
    emails,
    entitlements,
    licenses,
    orders,
    provider_accounts,
    reservations,
    tokens,
    webhooks,
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
    """Return the steps in order: the reference's eight, and with ``complete`` those for what the eight leave behind.

    What hangs on orders is cleared while the orders still say whose they are. The customer document is the last, for an
    interrupted delete finds the person by it.
    """
    return _COMPLETE if scope == "complete" else _REFERENCE


def recheck_steps() -> tuple[Step, ...]:
    """Return the steps that may be run again at any time: they change only what still names a person."""
    return (*_ON_ORDERS, *_LEFTOVERS, _CUSTOMER_LEFTOVERS)


def _changes(name: str, owned: OwnedType) -> Step:
    return Step(name, lambda host, requests, clock: change_owned(host, owned, requests, clock))


def _eight(*, complete: bool) -> tuple[Step, ...]:
    customer_keys: tuple[HandleKind, ...] = ("customerId", "emailHash", "userId")
    return (
        Step("tokensDeleted", tokens.delete),
        Step("reservationsReleased", reservations.release),
        _changes("emailsRedacted", emails.of_statuses("queued", "failed")),
        _changes("accountExportsRedacted", account_exports.ACCOUNT_EXPORTS),
        _changes("ordersAnonymized", orders.of_scope(complete=complete)),
        _changes("entitlementsAnonymized", entitlements.ENTITLEMENTS),
        _changes("licensesAnonymized", licenses.LICENSES),
        Step(
            "customerAnonymized",
            partial(customers.anonymize, keys=customer_keys if complete else customer_keys[:2], complete=complete),
            bool,
        ),
    )


def _named(*names: str) -> tuple[Step, ...]:
    eight = {step.name: step for step in _eight(complete=True)}
    return tuple(eight[name] for name in names)


_REFERENCE: Final = _eight(complete=False)

_ON_ORDERS: Final = (
    _changes("webhooksRedacted", webhooks.WEBHOOKS),
    _changes("checkoutsAnonymized", checkouts.CHECKOUTS),
    Step("acpSessionsRedacted", acp_sessions.redact),
    _changes("orderEmailsRedacted", emails.EMAILS),
)

_LEFTOVERS: Final = (
    _changes("subscriptionsAnonymized", aggregates.SUBSCRIPTIONS),
    _changes("cartsAnonymized", aggregates.CARTS),
    _changes("ordersUserIdsAnonymized", orders.ORDERS),
    _changes("entitlementKeysAnonymized", entitlements.KEYS),
    _changes("accountExportKeysRemoved", account_exports.KEYS),
    _changes("earlierRequestKeysRemoved", earlier_requests.EARLIER_REQUESTS),
    _changes("providerAccountsRedacted", provider_accounts.PROVIDER_ACCOUNTS),
)

_CUSTOMER_LEFTOVERS: Final = _changes(LAST_FURTHER_STEP, customers.CUSTOMERS)

_COMPLETE: Final = (
    *_named("tokensDeleted", "reservationsReleased", "emailsRedacted"),
    _changes("sentEmailsRedacted", emails.of_statuses("sent", "skipped")),
    *_ON_ORDERS,
    *_named("accountExportsRedacted", "ordersAnonymized", "entitlementsAnonymized", "licensesAnonymized"),
    *_LEFTOVERS,
    *_named("customerAnonymized"),
    _CUSTOMER_LEFTOVERS,
)
