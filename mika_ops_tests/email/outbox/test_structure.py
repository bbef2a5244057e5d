"""What runs beside a drain, in other threads, knows nothing of it."""

import pytest

from mika_ops_tests.test_architecture import reached_from


@pytest.mark.parametrize("module", ["attempts", "leaser", "recorder", "record_size", "circuit_breaker", "send_rate"])
def test_what_a_drain_is_made_of_does_not_reach_the_drain(module: str) -> None:
    assert "mika_ops.email.outbox.outbox" not in reached_from(f"mika_ops.email.outbox.{module}")
