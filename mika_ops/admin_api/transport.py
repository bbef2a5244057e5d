"""The connection to one site: posts JSON with the access token and a key, to this site only and by a deadline.

The answer is read up to a size, and the call ends on time whatever the site does. No error and no log shows the token,
even where the site repeats it.
"""

import logging
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from mika_ops.admin_api.responses import AdminApiError, AdminApiUnavailable, Answer
from mika_ops.deadline import Deadline
from mika_ops.redaction import redact
from mika_ops.setting_names import PLAIN_NAMES, SettingNames

LONGEST_ANSWER_BYTES: Final = 1_000_000
"""More than any answer of the admin API has: a longer one is not read to its end."""

REDIRECTS_FOLLOWED: Final = 3

IDLE_SECONDS: Final = 3.0
"""How long an idle connection is kept. Node closes it after 5 s: one that is about to be closed is not used again."""

_KEEPS_THE_BODY: Final = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
"""After any other redirect, a client continues with GET and without the body: the call would be lost."""

_LOGGERS: Final = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
"""The loggers that write addresses and headers of requests and responses."""


class AccessToken:
    """The secret with which the admin API is called, and how to keep it out of errors and logs."""

    def __init__(self, token: str) -> None:
        self._secret = SecretStr(token)
        spellings = "|".join(re.escape(spelling) for spelling in {token, quote(token, safe="")} if spelling)
        self._spelled = re.compile(spellings or r"(?!)", re.IGNORECASE)

    def header(self) -> str:
        """Return the value of the ``Authorization`` header."""
        return f"Bearer {self._secret.get_secret_value()}"

    def redact_token(self, text: str) -> str:
        """Return the text without the token."""
        return self._spelled.sub("<token>", text)

    def redact(self, text: str) -> str:
        """Return another party's text as one line that may be shown: without the token, addresses and links."""
        return redact(self.redact_token(text))

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a log record pass, without the token: this makes it a filter of ``logging``."""
        text = record.getMessage()
        redacted = self.redact_token(text)
        if redacted != text:
            record.msg, record.args = redacted, None
        return True

    def __repr__(self) -> str:
        return "AccessToken(…)"


class SiteConnection:
    """A connection to a site that is kept between calls and closed at the end. One call at a time."""

    def __init__(self, site_url: str, token: AccessToken, names: SettingNames = PLAIN_NAMES) -> None:
        """Certificates are verified, by the authorities of ``SSL_CERT_FILE`` where the environment names some."""
        self._site_url = site_url.rstrip("/")
        self._token = token
        self._names = names
        self._cutter = _Cutter()
        self._client = httpx.Client(
            headers={
                "Authorization": token.header(),
                "Accept": "application/json",
                # A small compressed answer may be a huge one, which only unpacking it would show.
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "X-EmDash-Request": "1",
            },
            follow_redirects=False,
            limits=httpx.Limits(keepalive_expiry=IDLE_SECONDS),
        )
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(token)

    def post(self, call: str, path: str, body: bytes, *, key: str, within_seconds: float) -> Answer:
        """Post to a path of the site, and return what it answers, whatever its status.

        ``call`` names the call in errors. ``key`` is the idempotency key, sent with every redirect too. Raises
        ``AdminApiUnavailable`` where the connection failed, ``AdminApiError`` where it took too long, the certificate
        is not trusted, it redirects elsewhere, or the answer is too long.
        """
        try:
            with self._cutter.cut_after(within_seconds):
                url = httpx.URL(self._site_url + path)
                for _ in range(1 + REDIRECTS_FOLLOWED):
                    answer, location = self._post_once(call, url, body, key, within_seconds)
                    if location is None:
                        return answer
                    url = self._redirected(call, url, answer.status, location)
        except httpx.InvalidURL:
            raise AdminApiError(
                f"the admin API was not sent {call}: {self._names('admin_api_url')} is not a valid address"
            ) from None
        except httpx.HTTPError as error:
            if self._cutter.has_cut or isinstance(error, httpx.TimeoutException):
                raise _too_late(call, self._names) from None
            raise self._failed(call, error) from None
        raise AdminApiError(
            f"the admin API redirects {call} again and again: check {self._names('admin_api_url')} and the site"
        )

    def close(self) -> None:
        """Close the connection."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._token)
        self._client.close()

    def _post_once(
        self, call: str, url: httpx.URL, body: bytes, key: str, within_seconds: float
    ) -> tuple[Answer, str | None]:
        """Post; return the answer and, for a redirect, its location."""
        read = bytearray()
        with self._client.stream(
            "POST",
            url,
            content=body,
            headers={"Idempotency-Key": key},
            timeout=within_seconds,
            extensions={"trace": self._cutter.trace},
        ) as response:
            if response.has_redirect_location:
                return Answer(response.status_code, b""), response.headers["Location"]
            for chunk in response.iter_raw():
                read += chunk
                if len(read) > LONGEST_ANSWER_BYTES:
                    raise AdminApiError(
                        f"the admin API answered {call} with {response.status_code} and more than "
                        f"{LONGEST_ANSWER_BYTES:,} bytes: check {self._names('admin_api_url')} and the site"
                    )
            if self._cutter.has_cut:
                raise _too_late(call, self._names)
            return Answer(response.status_code, bytes(read), response.headers.get("Retry-After")), None

    def _redirected(self, call: str, url: httpx.URL, status: int, location: str) -> httpx.URL:
        """Return the address of the same site to post to instead. Raises ``AdminApiError`` for any other redirect."""
        target = url.join(location)
        place = self._token.redact(target.netloc.decode("ascii", "replace"))
        if target.host != url.host or (target.scheme, _port(target)) != (url.scheme, _port(url)):
            if target.host == url.host and (url.scheme, target.scheme) == ("https", "http"):
                raise AdminApiError(
                    f"the admin API redirects {call} to http, where others could read the token: fix the redirect of "
                    f"the site {place}"
                )
            # Without "https://", which ``redact`` would take for a link to hide.
            raise AdminApiError(
                f"the admin API redirects {call} elsewhere, where the token is not sent: set "
                f"{self._names('admin_api_url')} to the {target.scheme} address of {place}"
            )
        if status not in _KEEPS_THE_BODY:
            raise AdminApiError(
                f"the admin API redirects {call} with {status}, which loses what is posted: check "
                f"{self._names('admin_api_url')} and the redirects of the site"
            )
        # Only the path: httpx would log in as a user that the location names.
        return url.copy_with(raw_path=target.raw_path)

    def _failed(self, call: str, error: httpx.HTTPError) -> AdminApiError:
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return AdminApiError(
                    f"the admin API was not sent {call}: the site's certificate is not trusted "
                    f"({self._token.redact(cause.verify_message)}); check {self._names('admin_api_url')}, or name the "
                    "certificate's authority in SSL_CERT_FILE"
                )
        message = self._token.redact(str(error))
        described = f"{type(error).__name__}: {message}" if message else type(error).__name__
        sentence = (
            f"the admin API did not answer {call} ({described}); check {self._names('admin_api_url')} and the site"
        )
        if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
            return AdminApiUnavailable(sentence)
        return AdminApiError(sentence)


class _Cutter:
    """Cuts the connection when the time of a call is up.

    The time-outs of httpx are for one read each: a site that answers a byte at a time would outlast them all.
    """

    def __init__(self) -> None:
        self.has_cut = False
        self._socket: socket.socket | None = None

    @contextmanager
    def cut_after(self, seconds: float) -> Iterator[None]:
        """Cut the connection in that many seconds, unless the context is left before."""
        self.has_cut = False
        with Deadline.within(seconds).enforce(self._cut):
            yield

    def trace(self, _event: str, info: Mapping[str, Any]) -> None:
        """Keep the socket that was connected or encrypted: a trace of httpcore, which passes the stream of both."""
        stream = info.get("return_value")
        if stream is not None and hasattr(stream, "get_extra_info"):
            self._socket = stream.get_extra_info("socket")
            if self.has_cut:
                self._cut()

    def _cut(self) -> None:
        self.has_cut = True
        if self._socket is not None:
            with suppress(OSError):
                # Not the encrypted socket's own: that one removes the encryption from under a read in progress.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _too_late(call: str, names: SettingNames) -> AdminApiError:
    return AdminApiError(
        f"the admin API did not answer {call} in the time of {names('admin_api_timeout_seconds')}; check "
        f"{names('admin_api_url')} and the site"
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)
