"""The circuit breaker opens where several attempts in a row cannot reach the provider, and says why."""

from mika_ops.email.outbox.circuit_breaker import UNREACHABLE_LIMIT, CircuitBreaker


def breaker_after(*reached: bool) -> CircuitBreaker:
    """A breaker that has seen these attempts, each of which reached the provider or did not."""
    breaker = CircuitBreaker()
    for number, each in enumerate(reached):
        if each:
            breaker.reached()
        else:
            breaker.unreachable(f"refused {number}")
    return breaker


def test_it_is_closed_until_so_many_attempts_in_a_row_are_unreachable() -> None:
    assert not breaker_after().is_open
    assert not breaker_after(*[False] * (UNREACHABLE_LIMIT - 1)).is_open
    assert breaker_after(*[False] * UNREACHABLE_LIMIT).is_open


def test_an_attempt_that_reaches_the_provider_starts_the_count_again() -> None:
    breaker = breaker_after(False, False, True, False, False)
    assert not breaker.is_open
    assert breaker.last_error == "refused 4"


def test_its_reason_names_the_last_error_and_the_count() -> None:
    assert breaker_after(False, False, False).reason == (
        "refused 2; the drain stopped after 3 emails in a row failed this way"
    )
