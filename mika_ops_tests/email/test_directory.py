"""Emails written into a folder."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.email.directory import FileSink
from mika_ops_tests.email.builders import envelope

NOON = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def sink(directory: Path) -> FileSink:
    return FileSink(directory, sender="Tea House <shop@exämple.test>", now=lambda: NOON)


def test_the_email_is_written_whole(tmp_path: Path) -> None:
    result = sink(tmp_path).send(envelope(to="zoë@example.test", subject="Zoë"))
    message = message_from_bytes((tmp_path / str(result.provider_message_id)).read_bytes(), policy=default)
    assert (message["To"], message["Subject"]) == ("zoë@example.test", "Zoë")
    assert message["Date"].datetime == NOON.replace(microsecond=0)
    assert message["Message-ID"].endswith("@xn--exmple-cua.test>")


def test_the_result_is_the_files_name(tmp_path: Path) -> None:
    result = sink(tmp_path).send(envelope(email_id="email_1"))
    assert result.provider_message_id == "2026-03-01T120000.123Z-email_1.eml"
    assert [path.name for path in tmp_path.iterdir()] == [result.provider_message_id]


def test_the_folder_is_made(tmp_path: Path) -> None:
    sink(tmp_path / "a" / "b").send(envelope())
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1


def test_only_its_owner_can_read_an_email(tmp_path: Path) -> None:
    sink(tmp_path).send(envelope())
    assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0]


def test_ids_that_look_alike_once_made_safe_get_files_of_their_own(tmp_path: Path) -> None:
    for email_id in ("email/1", "email:1", "email_1", "email 1"):
        sink(tmp_path).send(envelope(email_id=email_id))
    assert len(list(tmp_path.iterdir())) == 4


@given(st.text() | st.sampled_from(["", ".", "..", "../../etc/passwd", "/etc/passwd", "a\x00b", "\ud800", "x" * 5000]))
def test_no_id_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, email_id: str) -> None:
    directory = tmp_path_factory.mktemp("emails")
    name = sink(directory).send(envelope(email_id=email_id)).provider_message_id
    assert [path.name for path in directory.iterdir()] == [name]


def test_nothing_is_left_where_an_email_cannot_be_put_in_place(tmp_path: Path) -> None:
    (tmp_path / "2026-03-01T120000.123Z-email_1.eml").mkdir()
    with pytest.raises(OSError, match="directory"):
        sink(tmp_path).send(envelope(email_id="email_1"))
    assert [path.suffix for path in tmp_path.iterdir()] == [".eml"]


def test_a_recipient_that_is_no_address_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="recipient"):
        sink(tmp_path).send(envelope(to="nobody"))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_sender_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="MIKA_EMAIL_FROM"):
        FileSink(tmp_path, sender="Tea House")
