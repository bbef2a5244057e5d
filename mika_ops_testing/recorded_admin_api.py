"""Mika's admin API as a running site answered it: the recorded exchanges, and a site that answers from them.

``../shared/contract/exchanges`` holds all recordings. Those that tests name are copied to ``exchanges`` beside this
module, so that the tests run where that folder is absent; a test compares the copies.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mika_ops_testing.admin_api_server import NO_WEBHOOK, Call, Reply, says

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "contract" / "exchanges"
COPIES = Path(__file__).with_name("exchanges")

_RELEASE = "stock/release-expired-reservations"
_REPLAY = "webhooks/replay"


@dataclass(frozen=True)
class Exchange:
    """One recorded call and its answer. ``status`` is the one of HTTP; ``key`` the idempotency key in the header."""

    name: str
    method: str
    call: str
    key: str
    token: str
    sent: Any
    status: int
    answered: Any

    @property
    def code(self) -> str:
        """The code of Mika's or EmDash's refusal; for an answer that is no JSON, its status of HTTP."""
        if not isinstance(self.answered, dict):
            return str(self.status)
        error = self._envelope.get("error") or self.answered["error"]
        return str(error["code"])

    @property
    def data(self) -> dict[str, Any] | None:
        """What Mika returned for a call that it accepted; ``None`` for any refusal."""
        envelope = self._envelope
        return dict(envelope["data"]) if envelope.get("ok") is True else None

    @property
    def _envelope(self) -> dict[str, Any]:
        data = self.answered.get("data") if isinstance(self.answered, dict) else None
        return data if isinstance(data, dict) else {}

    def reply(self) -> Reply:
        body = self.answered.encode() if isinstance(self.answered, str) else self.answered
        return says(body, status=self.status)


@cache
def exchange(name: str) -> Exchange:
    """Return the copy of a recorded exchange."""
    return _read(COPIES / f"{name}.json")


def recorded(name: str) -> Reply:
    """Return the answer of a recorded exchange, to whatever is asked."""
    return exchange(name).reply()


def recorded_calls() -> list[Exchange]:
    """Return all recorded calls of the two writes that were answered; empty where the recordings are absent."""
    read = (_read(path) for path in sorted(RECORDINGS.glob("*.json")) if json.loads(path.read_text())["response"])
    return [each for each in read if each.method == "POST" and each.call in (_RELEASE, _REPLAY)]


def _read(path: Path) -> Exchange:
    found = json.loads(path.read_text(encoding="utf-8"))
    request, response = found["request"], found["response"]
    headers = {name.lower(): value for name, value in request["headers"].items()}
    return Exchange(
        found["name"],
        request["method"],
        request["path"].partition("/plugins/mika/admin/")[2].strip("/"),
        headers.get("idempotency-key", "").strip(),
        headers.get("authorization", "").removeprefix("Bearer "),
        request["body"],
        response["status"],
        response["body"],
    )


@dataclass
class RecordedSite:
    """Answers from the recordings, as ``reply_to`` of a ``Site``: first by the token, then by the key and the input.

    ``releases`` and ``replays`` name the recordings that answer new keys, in order; the last one is repeated.
    ``keeps_keys``: the unique index exists, so that a repeated key has its first answer, as from EmDash 0.33 on.
    """

    token: str
    releases: Sequence[str] = ("release-nothing-expired",)
    replays: Sequence[str] = ("replay-succeeds",)
    keeps_keys: bool = False
    ran: list[str] = field(default_factory=list)
    _by_key: dict[tuple[str, str], tuple[bytes, Reply]] = field(default_factory=dict)
    _answers: dict[str, Iterator[str]] = field(default_factory=dict)

    def __call__(self, call: Call) -> Reply:
        name = call.path.partition("/plugins/mika/admin/")[2]
        if call.headers.get("authorization") != f"Bearer {self.token}":
            return recorded("release-bad-token")
        if not call.key:
            return recorded("release-no-key" if name == _RELEASE else "replay-no-key")
        if name == _REPLAY and call.body.get("webhookId") == NO_WEBHOOK:
            return recorded("check-by-unknown-webhook")
        if self.keeps_keys and (name, call.key) in self._by_key:
            first, reply = self._by_key[name, call.key]
            mismatch = "release-same-key-other-now" if name == _RELEASE else "replay-key-of-another-webhook"
            return reply if call.raw == first else recorded(f"unique-index-{mismatch}")
        return self._run(name, call)

    def _run(self, name: str, call: Call) -> Reply:
        self.ran.append(call.key)
        names = self.releases if name == _RELEASE else self.replays
        answers = self._answers.setdefault(name, iter(names))
        reply = recorded(next(answers, names[-1]))
        self._by_key[name, call.key] = (call.raw, reply)
        return reply
