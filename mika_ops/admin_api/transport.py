"""The connection to one site: posts JSON with the access token, to this site only and within a time.

The answer is read up to a size, the call ends on time whatever the site does, and the token shows in no error and no
log: not even where the site repeats it.
"""

import logging
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from mika_ops.admin_api.responses import AdminApiError, AdminApiUnavailable, Answer
from mika_ops.redaction import redact

LONGEST_ANSWER_BYTES: Final = 1_000_000
"""More than any answer of the admin API: a longer one is not read to its end."""

REDIRECTS_FOLLOWED: Final = 3

_KEEPS_THE_BODY: Final = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
"""After any other redirect, a client goes on with GET and without the body: the call would be lost."""

_LOGGERS: Final = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")
"""The loggers that write addresses and headers of what they send and receive."""


class AccessToken:
    """The secret with which the admin API is called, and the way to keep it out of what is told."""

    def __init__(self, token: str) -> None:
        self._secret = SecretStr(token)
        spellings = "|".join(re.escape(spelling) for spelling in {token, quote(token, safe="")} if spelling)
        self._spelled = re.compile(spellings or r"(?!)", re.IGNORECASE)

    def header(self) -> str:
        """Return the value of the ``Authorization`` header."""
        return f"Bearer {self._secret.get_secret_value()}"

    def hidden_in(self, text: str) -> str:
        """Return the text without the token."""
        return self._spelled.sub("<token>", text)

    def told(self, text: str) -> str:
        """Return what somebody else said as one line that is safe to tell: without the token, addresses and links."""
        return redact(self.hidden_in(text))

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a log record pass, without the token: this makes it a filter of ``logging``."""
        text = record.getMessage()
        hidden = self.hidden_in(text)
        if hidden != text:
            record.msg, record.args = hidden, None
        return True

    def __repr__(self) -> str:
        return "AccessToken(…)"


class SiteConnection:
    """A connection to a site that is kept between calls and closed at the end. One call at a time."""

    def __init__(self, site_url: str, token: AccessToken) -> None:
        """Certificates are verified, by the authorities of ``SSL_CERT_FILE`` where the environment names some."""
        self._site_url = site_url.rstrip("/")
        self._token = token
        self._deadline = _Deadline()
        self._client = httpx.Client(
            headers={
                "Authorization": token.header(),
                "Accept": "application/json",
                # A small compressed answer may be a huge one, which only unpacking it would tell.
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "X-EmDash-Request": "1",
            },
            follow_redirects=False,
        )
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(token)

    def post(self, call: str, path: str, body: bytes, *, within_seconds: float) -> Answer:
        """Post to a path of the site, and return what it answers, whatever its status.

        ``call`` names the call in errors. Raises ``AdminApiUnavailable`` where the connection failed, ``AdminApiError``
        where it took too long, is not to be trusted, leads elsewhere, or the answer is too long.
        """
        try:
            with self._deadline.within(within_seconds):
                url = httpx.URL(self._site_url + path)
                for _ in range(1 + REDIRECTS_FOLLOWED):
                    answer, location = self._post_once(call, url, body, within_seconds)
                    if location is None:
                        return answer
                    url = self._redirected(call, url, answer.status, location)
        except httpx.InvalidURL:
            raise AdminApiError(
                f"the admin API was not sent {call}: MIKA_ADMIN_API_URL is no address that can be called"
            ) from None
        except httpx.HTTPError as error:
            if self._deadline.passed or isinstance(error, httpx.TimeoutException):
                raise _too_late(call) from None
            raise self._failed(call, error) from None
        raise AdminApiError(f"the admin API redirects {call} again and again: check MIKA_ADMIN_API_URL and the site")

    def close(self) -> None:
        """Close the connection."""
        for name in _LOGGERS:
            logging.getLogger(name).removeFilter(self._token)
        self._client.close()

    def _post_once(self, call: str, url: httpx.URL, body: bytes, within_seconds: float) -> tuple[Answer, str | None]:
        """Post, and return the answer and where it redirects to, where it does."""
        read = bytearray()
        with self._client.stream(
            "POST", url, content=body, timeout=within_seconds, extensions={"trace": self._deadline.watch}
        ) as response:
            if response.has_redirect_location:
                return Answer(response.status_code, b""), response.headers["Location"]
            for chunk in response.iter_raw():
                read += chunk
                if len(read) > LONGEST_ANSWER_BYTES:
                    raise AdminApiError(
                        f"the admin API answered {call} with {response.status_code} and more than "
                        f"{LONGEST_ANSWER_BYTES:,} bytes: check MIKA_ADMIN_API_URL and the site"
                    )
            if self._deadline.passed:
                raise _too_late(call)
            return Answer(response.status_code, bytes(read), response.headers.get("Retry-After")), None

    def _redirected(self, call: str, url: httpx.URL, status: int, location: str) -> httpx.URL:
        """Return the address of the same site to post to instead. Raises ``AdminApiError`` for any other redirect."""
        target = url.join(location)
        place = self._token.told(target.netloc.decode("ascii", "replace"))
        if target.host != url.host or (target.scheme, _port(target)) != (url.scheme, _port(url)):
            if target.host == url.host and (url.scheme, target.scheme) == ("https", "http"):
                raise AdminApiError(
                    f"the admin API redirects {call} to http, where others could read the token: mend the redirect of "
                    f"the site {place}"
                )
            # Without "https://", which privacy.redacted would take for a link to hide.
            raise AdminApiError(
                f"the admin API redirects {call} elsewhere, where the token is not sent: set MIKA_ADMIN_API_URL to the "
                f"{target.scheme} address of {place}"
            )
        if status not in _KEEPS_THE_BODY:
            raise AdminApiError(
                f"the admin API redirects {call} with {status}, which loses what is posted: check MIKA_ADMIN_API_URL "
                "and the redirects of the site"
            )
        # Of the location only what cannot lead away from here: httpx would log in as a user that it names.
        return url.copy_with(raw_path=target.raw_path)

    def _failed(self, call: str, error: httpx.HTTPError) -> AdminApiError:
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return AdminApiError(
                    f"the admin API was not sent {call}: the site's certificate is not trusted "
                    f"({self._token.told(cause.verify_message)}); check MIKA_ADMIN_API_URL, or name the certificate's "
                    "authority in SSL_CERT_FILE"
                )
        said = self._token.told(str(error))
        told = f"{type(error).__name__}: {said}" if said else type(error).__name__
        sentence = f"the admin API did not answer {call} ({told}); check MIKA_ADMIN_API_URL and the site"
        if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError):
            return AdminApiUnavailable(sentence)
        return AdminApiError(sentence)


class _Deadline:
    """Cuts the connection when the time of a call is up.

    The time-outs of httpx are for one read each: a site that answers a byte at a time would outlast them all.
    """

    def __init__(self) -> None:
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def within(self, seconds: float) -> Self:
        """Return a context that has so many seconds."""
        self.passed = False
        self._timer = threading.Timer(seconds, self._now)
        self._timer.daemon = True
        return self

    def __enter__(self) -> None:
        if self._timer is not None:
            self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def watch(self, _event: str, info: Mapping[str, Any]) -> None:
        """Learn of the socket that was connected or encrypted: a trace of httpcore, which gives the stream of both."""
        stream = info.get("return_value")
        if stream is not None and hasattr(stream, "get_extra_info"):
            self._socket = stream.get_extra_info("socket")
            if self.passed:
                self._now()

    def _now(self) -> None:
        self.passed = True
        if self._socket is not None:
            with suppress(OSError):
                # Not the encrypted socket's own: that one takes the encryption from under a read that goes on.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _too_late(call: str) -> AdminApiError:
    return AdminApiError(
        f"the admin API did not answer {call} in the time of MIKA_ADMIN_API_TIMEOUT_SECONDS; check MIKA_ADMIN_API_URL "
        "and the site"
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)
