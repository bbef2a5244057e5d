"""When to give up on a provider that cannot be reached."""

from dataclasses import dataclass
from typing import Final

UNREACHABLE_LIMIT: Final = 3
"""So many attempts in a row that cannot reach the provider end the drain."""


@dataclass
class CircuitBreaker:
    """A circuit breaker without a half-open state: the next run is the next attempt to reach the provider.

    ``last_error`` says why the last attempt that could not reach the provider failed.
    """

    last_error: str | None = None
    _unreachable_in_a_row: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the drain should stop."""
        return self._unreachable_in_a_row >= UNREACHABLE_LIMIT

    @property
    def reason(self) -> str:
        """The sentence that says why the drain stops, once the breaker is open."""
        return f"{self.last_error}; the drain stopped after {UNREACHABLE_LIMIT} emails in a row failed this way"

    def unreachable(self, error: str) -> None:
        """Note an attempt that could not reach the provider."""
        self.last_error = error
        self._unreachable_in_a_row += 1

    def reached(self) -> None:
        """Note an attempt that reached the provider, whatever it answered."""
        self._unreachable_in_a_row = 0
