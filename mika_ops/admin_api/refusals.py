"""What the site's refusals mean: which of them are temporary, and what to do about each.

Source: behaviour, section 10. Mika's three conflicts have one code and differ by their sentence only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal, TypeAlias

from mika_ops.setting_names import SettingNames

Reaction: TypeAlias = Literal["give up", "retry", "wait"]
"""What the client does: ``retry`` makes a few more attempts, ``wait`` asks again until the call's deadline."""


@dataclass(frozen=True)
class Refusal:
    """A call that was refused. ``status``: Mika's status if ``is_mika``, else the one of HTTP.

    ``code``, ``message`` and ``field_errors`` are the site's words as they arrived, and may hold anything. ``is_json``:
    the answer was a JSON object.
    """

    call: str
    status: int
    code: str = ""
    message: str = ""
    field_errors: Mapping[str, str] = field(default_factory=dict)
    is_json: bool = True
    is_mika: bool = False


@dataclass(frozen=True)
class Remedy:
    """What to do about the refusals that it ``fits``. ``sentence`` may name settings: ``{url}`` and ``{token}``."""

    fits: Callable[[Refusal], bool]
    sentence: str
    reaction: Reaction = "give up"

    def words(self, names: SettingNames) -> str:
        """Return the sentence, with the variables of the shop."""
        return self.sentence.format(url=names("admin_api_url"), token=names("admin_api_token"))


def remedy_for(refusal: Refusal) -> Remedy | None:
    """Return the remedy of a refusal, or ``None`` if the site's own words have to be enough."""
    return next((remedy for remedy in _REMEDIES if remedy.fits(refusal)), None)


def _conflict(words: str) -> Callable[[Refusal], bool]:
    return lambda refusal: refusal.is_mika and refusal.code == "CONFLICT" and words in refusal.message


def _mika(status: HTTPStatus, code: str, *, call: str = "") -> Callable[[Refusal], bool]:
    return lambda refusal: (
        refusal.is_mika and (refusal.status, refusal.code) == (status, code) and refusal.call.startswith(call)
    )


def _emdash(status: HTTPStatus, code: str) -> Callable[[Refusal], bool]:
    return lambda refusal: not refusal.is_mika and (refusal.status, refusal.code) == (status, code)


def _rejects_access(refusal: Refusal) -> bool:
    return refusal.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def _is_another_page(refusal: Refusal) -> bool:
    """Whether nothing of Mika is there: EmDash and Mika answer with JSON."""
    missing = refusal.status == HTTPStatus.NOT_FOUND or refusal.status < HTTPStatus.BAD_REQUEST
    return missing and not refusal.is_mika and not refusal.is_json


_REMEDIES: Final = (
    Remedy(
        _conflict("requires an idempotency key"),
        "a proxy before the site removes the header Idempotency-Key: let it pass the header on",
    ),
    Remedy(
        _conflict("already in progress"),
        "the first call with this key is still running, or the site stopped during it: the next run uses a new key",
        "wait",
    ),
    Remedy(
        _conflict("already completed"),
        "the site has done this and cannot repeat its answer: the next run uses a new key",
    ),
    Remedy(
        lambda refusal: refusal.is_mika and refusal.code == "IDEMPOTENCY_MISMATCH",
        "the key was used for another call: the next run uses a new key; if this happens again, find out which other "
        "program uses the same keys",
    ),
    Remedy(
        _emdash(HTTPStatus.UNAUTHORIZED, "INVALID_TOKEN"),
        "the token is unknown or expired, or its user is disabled: set {token} to a valid EmDash access token with the "
        "scope admin",
    ),
    Remedy(
        _emdash(HTTPStatus.UNAUTHORIZED, "UNAUTHORIZED"),
        "the site cannot verify tokens now, which is temporary: check whether its database is down; if it is not, "
        "whether a proxy before the site removes the header Authorization",
        "retry",
    ),
    Remedy(
        _emdash(HTTPStatus.INTERNAL_SERVER_ERROR, "NOT_CONFIGURED"),
        "the site has not connected to its database yet, which is temporary: check the database, and restart the site "
        "if this stays",
        "retry",
    ),
    Remedy(
        _emdash(HTTPStatus.FORBIDDEN, "FORBIDDEN"),
        "the token's user is not an admin: give the user the role admin, or set {token} to a token of an admin",
    ),
    Remedy(
        _emdash(HTTPStatus.FORBIDDEN, "INSUFFICIENT_SCOPE"),
        "the token lacks the scope admin: set {token} to an EmDash access token with the scope admin",
    ),
    Remedy(
        _emdash(HTTPStatus.FORBIDDEN, "CSRF_REJECTED"),
        "a proxy before the site adds the header Origin or removes X-EmDash-Request: let it pass the headers unchanged",
    ),
    Remedy(
        _emdash(HTTPStatus.NOT_FOUND, "NOT_FOUND"),
        "the plugin Mika is disabled or not installed there: enable it in EmDash's admin, or set {url} to the address "
        "of the site on which Mika runs",
    ),
    Remedy(
        _mika(HTTPStatus.NOT_FOUND, "NOT_FOUND", call="webhooks/"),
        "the webhook does not exist any more: its workflow cannot be completed by a replay; open it in the site's "
        "admin",
    ),
    Remedy(
        _mika(HTTPStatus.UNPROCESSABLE_ENTITY, "VALIDATION_FAILED"),
        "Mika wants other input than this version of mika-ops sends: upgrade the older of the two",
    ),
    Remedy(
        _mika(HTTPStatus.METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED"),
        "a proxy before the site changes the method POST: let it pass the method unchanged",
    ),
    Remedy(
        _mika(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", call="stock/"),
        "the site's log has the cause; one reservation whose stock item does not exist keeps all from being released",
    ),
    Remedy(
        _mika(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL"),
        "the site's log has the cause, which may be its database",
    ),
    Remedy(
        lambda refusal: _rejects_access(refusal) and not refusal.is_json,
        "this is not EmDash's answer: have the proxy or firewall before the site pass calls with the header "
        "Authorization, or set {url} to the address of the site",
    ),
    Remedy(_rejects_access, "set {token} to an EmDash access token that is valid and has the scope admin"),
    Remedy(_is_another_page, "set {url} to the address of the site on which Mika runs"),
)
"""The remedies, in order: the first one that fits is taken."""
