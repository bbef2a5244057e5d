"""Alerts on their way: to a real HTTP endpoint and a real mail server on this machine, and into the log."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from mika_ops.alerting.channels import AppriseAlerts, LoggedAlerts, NotDelivered, channels
from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings
from mika_ops.config.shop import Shop
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.ports.alerts import Alert
from mika_ops_testing.smtp_server import free_port, mail_server, silent, tarpit
from mika_ops_tests.orchestration.fake_host import Broken, run_job, whole_host

SECRET = "s3cretT0ken"

ALERT = Alert(
    job="mika_maintenance",
    run_id="run-7",
    sentence="mika_maintenance run run-7 failed: the disk is full",
    title="mika_maintenance: run failed",
    url="https://dagster.example/runs/run-7",
)


@dataclass
class Endpoint:
    """An HTTP endpoint that keeps what it is posted, and answers with ``status``."""

    port: int
    status: int = 200
    posted: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://user:{SECRET}@127.0.0.1:{self.port}/{SECRET}"


@contextmanager
def endpoint() -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if made.status == 200:
                made.posted.append(json.loads(body))
            self.send_response(made.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Endpoint(server.server_port)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def over(url: str, **options: Any) -> AppriseAlerts:
    return AppriseAlerts(SecretStr(url), **options)


def test_an_alert_arrives_at_an_http_endpoint_with_its_link() -> None:
    with endpoint() as receiver:
        over(receiver.url).send(ALERT)

    (posted,) = receiver.posted
    assert (posted["title"], posted["type"]) == (ALERT.title, "failure")
    assert posted["message"] == f"{ALERT.sentence}\n{ALERT.url}"


@pytest.mark.parametrize(
    ("kind", "shown_as"),
    [("opened", "failure"), ("reminder", "warning"), ("recovered", "success"), ("test", "info")],
)
def test_each_kind_of_alert_is_shown_as_what_it_is(kind: Any, shown_as: str) -> None:
    with endpoint() as receiver:
        over(receiver.url).send(Alert("job", "run-7", "A sentence.", kind))

    assert receiver.posted[0]["type"] == shown_as


def test_an_alert_arrives_as_an_email() -> None:
    with mail_server() as mailroom:
        over(f"mailto://127.0.0.1:{mailroom.port}?from=mika@shop.test&to=ops@shop.test").send(ALERT)

    (message,) = mailroom.messages
    assert (message["Subject"], message["To"]) == (ALERT.title, "ops@shop.test")
    text = message.get_body(("plain", "html")).get_content()  # type: ignore[union-attr]
    assert ALERT.sentence in text
    assert str(ALERT.url) in text


def test_alerts_one_after_the_other_do_not_wait_for_each_other() -> None:
    with mail_server() as mailroom:
        sink = over(f"mailto://127.0.0.1:{mailroom.port}?from=mika@shop.test&to=ops@shop.test", send_seconds=5)
        for _ in range(3):
            sink.send(ALERT)

    assert len(mailroom.messages) == 3


def test_a_refused_alert_names_the_number_of_the_address_and_the_reason_but_no_part_of_it() -> None:
    with endpoint() as receiver:
        receiver.status = 503
        with pytest.raises(NotDelivered, match=r"^number 2 of MIKA_ALERT_URLS did not accept it: .*503") as refused:
            over(receiver.url, number=2).send(ALERT)

    for part in (SECRET, "127", "user", str(receiver.port)):
        assert part not in str(refused.value)


def test_an_unreachable_server_is_reported_without_its_address() -> None:
    with pytest.raises(NotDelivered, match=r"did not accept it: A Connection error") as refused:
        over(f"json://user:{SECRET}@127.0.0.1:{free_port()}/{SECRET}").send(ALERT)

    assert SECRET not in str(refused.value)
    assert "127" not in str(refused.value)


def test_a_server_that_never_answers_is_waited_for_no_longer_than_allowed() -> None:
    with silent() as port, pytest.raises(NotDelivered, match=r"took longer than 0\.2 seconds|did not accept it"):
        over(f"json://127.0.0.1:{port}/?rto=1", send_seconds=0.2).send(ALERT)


def test_a_server_that_draws_out_its_answer_is_waited_for_no_longer_than_allowed() -> None:
    with tarpit() as port, pytest.raises(NotDelivered, match=r"took longer than 0\.2 seconds|did not accept it"):
        over(f"mailto://127.0.0.1:{port}?from=a@shop.test&to=b@shop.test", send_seconds=0.2).send(ALERT)


def test_no_log_shows_an_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with endpoint() as receiver:
        sink = over(receiver.url)
        sink.send(ALERT)
        receiver.status = 500
        with pytest.raises(NotDelivered):
            sink.send(ALERT)
    with pytest.raises(SettingsError):
        over(f"slack://{SECRET}")

    assert SECRET not in caplog.text
    assert SECRET not in repr(sink)


def test_what_others_log_by_the_same_loggers_is_logged_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    with endpoint() as receiver:
        over(receiver.url).send(ALERT)
    logging.getLogger("apprise").warning("somebody else's")

    assert "somebody else's" in caplog.text


@pytest.mark.parametrize("wrong", [f"slack://{SECRET}", f"nonsense-{SECRET}", f"bogus://{SECRET}", "json://", "://"])
def test_an_address_that_is_none_is_refused_by_its_number_and_not_shown(wrong: str) -> None:
    settings = isolated_settings(alert_urls=("json://pager.example", wrong))

    with pytest.raises(SettingsError, match=r"^MIKA_ALERT_URLS: number 2 is no address that Apprise knows") as refused:
        channels(Shop(settings))
    assert SECRET not in str(refused.value)


def test_a_shops_variable_is_named_as_its_own() -> None:
    with pytest.raises(SettingsError, match=r"^MIKA_EU_ALERT_URLS: number 1 "):
        channels(Shop(isolated_settings(alert_urls=("nonsense",)), "eu"))


def test_without_addresses_alerts_are_logged_as_what_they_are(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (sink,) = channels(Shop(isolated_settings()))
    assert isinstance(sink, LoggedAlerts)
    sink.send(ALERT)
    sink.send(Alert("job", "run-8", "job works again", "recovered"))

    assert caplog.record_tuples == [
        ("mika_ops.alerts", logging.ERROR, f"{ALERT.sentence} {ALERT.url}"),
        ("mika_ops.alerts", logging.INFO, "job works again"),
    ]


def test_apprise_is_not_loaded_by_who_has_no_addresses() -> None:
    code = (
        "import sys; from mika_ops.orchestration.definitions import build_definitions; "
        "from mika_ops.config.loading import isolated_settings; build_definitions(settings=isolated_settings()); "
        "sys.exit('apprise' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def test_an_endpoint_that_fails_and_is_repaired_is_alerted_once_and_so_is_the_mail_server_beside_it() -> None:
    with endpoint() as receiver, mail_server() as mailroom, dg.DagsterInstance.ephemeral() as instance:
        settings = isolated_settings(
            alert_urls=(receiver.url, f"mailto://127.0.0.1:{mailroom.port}?from=mika@shop.test&to=ops@shop.test")
        )
        sensor = build_definitions(settings=settings).get_repository_def().get_sensor_def("mika_maintenance_alerts")
        cursor: str | None = None

        def tick() -> str:
            nonlocal cursor
            data = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
            cursor = data.cursor
            return str(data.skip_message)

        tick()
        receiver.status = 503
        run_job(whole_host(reservation_release=Broken()), instance=instance)
        sentence = tick()
        with pytest.raises(Exception, match="number 1 of MIKA_ALERT_URLS did not accept it"):
            tick()
        receiver.status = 200
        tick()
        tick()

    assert "1 alert delivered; not delivered, and retried at the next tick: stock_reservations" in sentence
    assert len(receiver.posted) == 1
    assert len(mailroom.messages) == 1
    for part in (SECRET, "ops@", "shop.test", "127.0.0.1"):
        assert part not in sentence
        assert part not in str(cursor)
