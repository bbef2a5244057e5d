"""The cursor of the alert sensor: what an upgrade keeps."""

from mika_ops.orchestration.alerts.monitor import Cursor

AT = "2026-03-01T12:00:00Z"


def test_a_cursor_of_version_1_is_read_with_its_open_incidents() -> None:
    incident = f'"first_seen":"{AT}","last_seen":"{AT}","as_it_is_since":"{AT}","tracks":[{{"told":1,"at":"{AT}"}}]'
    incidents = f'{{"silence":{{"trouble":"silent",{incident}}}}}'

    cursor = Cursor.read(f'{{"since":"{AT}","state":{{"heard":"{AT}","incidents":{incidents}}},"version":1}}')

    assert cursor is not None
    assert [(key, known.trouble) for key, known in cursor.state.incidents.items()] == [("no_runs", "no_runs")]
    assert cursor.state.incidents["no_runs"].tracks[0].told == 1
    assert Cursor.read(cursor.written()) == cursor
