"""Where mika-ops differs from the recorded reference on purpose: the one list that the parity checker allows.

Each entry rewrites what a case expects, and only in the cases it names; everything else must be the same.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from mika_ops.timestamps import LATEST, shifted

Compared = dict[str, Any]


@dataclass(frozen=True)
class Deviation:
    """``allow`` returns what is expected and what was found, with the difference made on purpose taken out of both."""

    number: int
    reason: str
    applies: Callable[[dict[str, Any]], bool]
    allow: Callable[[dict[str, Any], Compared, Compared], tuple[Compared, Compared]]


def _tagged(tag: str) -> Callable[[dict[str, Any]], bool]:
    return lambda case: tag in case["covers"]


def _ran_acp_sessions(case: dict[str, Any]) -> bool:
    return bool(case["result"]["acpSessions"]["status"] == "completed")


def _only_sessions_that_need_work(
    case: dict[str, Any], expected: Compared, found: Compared
) -> tuple[Compared, Compared]:
    """``scanned`` counts what was done; ``hasMore`` compares only where every session needs work."""
    expected, found = copy.deepcopy(expected), copy.deepcopy(found)
    recorded = expected["result"]["acpSessions"]["result"]
    recorded["scanned"] = recorded["expired"] + recorded["purged"]
    if "acp_limit" not in case["covers"]:
        recorded["hasMore"] = found["result"]["acpSessions"]["result"]["hasMore"]
    return expected, found


def _limit_reaches_further(case: dict[str, Any], expected: Compared, found: Compared) -> tuple[Compared, Compared]:
    """The limit is spent on sessions that need work: the least recently updated of those, and no live one."""
    expected, now = copy.deepcopy(expected), case["now"]
    due = sorted(
        (session for session in case["before"]["acp_sessions"] if _needs_work(session, now)),
        key=lambda session: (session["updatedAt"], session["id"]),
    )[: case["options"]["acpSessionLimit"]]
    purged = [session["id"] for session in due if session.get("purgeAt", LATEST) <= now]
    expired = {
        session["id"]: {
            **session,
            "status": "not_ready_for_payment",
            "expiredAt": now,
            "purgeAt": shifted(now, timedelta(hours=24)),
            "updatedAt": now,
            "version": session.get("version", 0) + 1,
        }
        for session in due
        if session["id"] not in purged
    }
    expected["store"]["acp_sessions"] = [
        expired.get(session["id"], session) for session in case["before"]["acp_sessions"] if session["id"] not in purged
    ]
    expected["result"]["acpSessions"]["result"].update(scanned=len(due), purged=len(purged), expired=len(expired))
    return expected, found


def _needs_work(session: dict[str, Any], now: str) -> bool:
    if session.get("purgeAt", LATEST) <= now:
        return True
    terminal = session["status"] in ("completed", "canceled")
    return not terminal and "expiredAt" not in session and session.get("expiresAt", LATEST) <= now


def _orphans_do_not_stop_the_release(
    case: dict[str, Any], expected: Compared, found: Compared
) -> tuple[Compared, Compared]:
    """Where the release ran: every expired reservation with an item is released; those without stay as they were."""
    if case["result"]["stockReservations"]["status"] != "failed":
        return expected, found
    expected = copy.deepcopy(expected)
    items = {item["id"]: item for item in expected["store"]["stock_items"]}
    for event in sorted(expected["store"]["stock_events"], key=lambda event: str(event["id"])):
        expired = event["expires_at"] is not None and event["expires_at"] <= case["now"]
        if event["kind"] != "reservation" or event["status"] != "active" or not expired:
            continue
        item = items.get(event["stock_item_id"])
        if item is not None:
            event.update(status="expired", idempotency_key=None, updated_at=case["now"])
            item["quantity_reserved"] = max(0, item["quantity_reserved"] - event["quantity_delta"])
            item["updated_at"] = case["now"]
    return expected, found


def _sent_links_take_their_token_with_them(
    case: dict[str, Any], expected: Compared, found: Compared
) -> tuple[Compared, Compared]:
    """The id of a magic link's token is the token itself: once sent, it is in the document no more."""
    expected = copy.deepcopy(expected)
    sent = {item["emailId"] for item in found["delivered"]}
    for document in expected["store"]["documents"]:
        data = document["data"]
        if document["id"] in sent and data.get("kind") == "magic_link":
            data.pop("tokenId", None)
            data["record"].pop("tokenId", None)
    return expected, found


DEVIATIONS: Final = (
    Deviation(
        1,
        "Only ACP sessions that need work are selected, so that live ones do not use up the limit.",
        _ran_acp_sessions,
        _only_sessions_that_need_work,
    ),
    Deviation(
        1,
        "With a limit, the sessions that need work are reached past the live ones.",
        _tagged("acp_selection_differs"),
        _limit_reaches_further,
    ),
    Deviation(
        2,
        "A reservation without a stock item does not undo the release of the others.",
        _tagged("stock_missing_item"),
        _orphans_do_not_stop_the_release,
    ),
    Deviation(
        18,
        "The raw token of a sign-in link leaves the document together with the link.",
        lambda case: bool(case["delivered"]),
        _sent_links_take_their_token_with_them,
    ),
)
"""Number 6, the wider scope of account deletes, is a setting: the cases are played with the reference's scope. Expired
links are sent, and nobody's emails are withheld, as those are options of the outbox."""
