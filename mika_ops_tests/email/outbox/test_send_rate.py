"""How fast a drain may go: never above what is set, slower where the provider asks for it, and up again after that."""

import pytest

from mika_ops.email.outbox.send_rate import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, SendRate


class Timer:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def timer() -> Timer:
    return Timer()


def startable(send_rate: SendRate) -> int:
    """How many may be under way at once."""
    return next(count for count in range(1000) if not send_rate.may_start(count))


def after_the_pause(send_rate: SendRate, timer: Timer) -> int:
    timer.now += max(0.0, send_rate.seconds_to_wait())
    return startable(send_rate)


class TestRate:
    def test_without_one_emails_may_start_at_once(self, timer: Timer) -> None:
        send_rate = SendRate(4, None, timer)
        for under_way in range(4):
            assert send_rate.may_start(under_way)
            send_rate.started()
        assert not send_rate.may_start(4)

    def test_the_next_email_waits_for_its_share_of_the_second(self, timer: Timer) -> None:
        send_rate = SendRate(4, 2.0, timer)
        send_rate.started()
        assert not send_rate.may_start(1)
        assert send_rate.seconds_to_wait() == pytest.approx(0.5)
        timer.now += 0.5
        assert send_rate.may_start(1)

    @pytest.mark.parametrize("rate", [0.5, 10.0])
    def test_over_a_while_no_more_are_started_than_the_send_rateallows(self, rate: float, timer: Timer) -> None:
        send_rate = SendRate(100, rate, timer)
        started, end = 0, timer.now + 20
        while timer.now < end:
            assert send_rate.may_start(0)
            send_rate.started()
            started += 1
            timer.now += send_rate.seconds_to_wait()
        assert started == pytest.approx(20 * rate, abs=1)

    def test_time_that_was_not_used_is_not_made_up_for(self, timer: Timer) -> None:
        send_rate = SendRate(100, 1.0, timer)
        timer.now += 60
        send_rate.started()
        assert send_rate.seconds_to_wait() == pytest.approx(1.0)


class TestThrottling:
    def test_a_throttle_makes_a_pause_and_halves_how_many_go_at_once(self, timer: Timer) -> None:
        send_rate = SendRate(8, None, timer)
        send_rate.throttled(timer())
        assert not send_rate.may_start(0)
        assert send_rate.seconds_to_wait() == FIRST_PAUSE_SECONDS
        assert after_the_pause(send_rate, timer) == 4

    def test_it_halves_again_each_time_but_one_may_always_go(self, timer: Timer) -> None:
        send_rate = SendRate(5, None, timer)
        found = []
        for _ in range(5):
            send_rate.throttled(timer())
            found.append(after_the_pause(send_rate, timer))
        assert found == [2, 1, 1, 1, 1]

    def test_pauses_grow_up_to_the_longest(self, timer: Timer) -> None:
        send_rate = SendRate(8, None, timer)
        pauses = []
        for _ in range(8):
            send_rate.throttled(timer())
            pauses.append(send_rate.seconds_to_wait())
            timer.now += send_rate.seconds_to_wait()
        assert pauses[:3] == [1.0, 2.0, 4.0]
        assert pauses[-1] == LONGEST_PAUSE_SECONDS

    def test_a_pause_is_not_shortened_by_the_rate(self, timer: Timer) -> None:
        send_rate = SendRate(8, 100.0, timer)
        send_rate.throttled(timer())
        send_rate.started()
        assert send_rate.seconds_to_wait() > FIRST_PAUSE_SECONDS


class TestRecovery:
    def test_each_email_that_is_taken_lets_one_more_go_at_once_up_to_what_is_set(self, timer: Timer) -> None:
        send_rate = SendRate(8, None, timer)
        send_rate.throttled(timer())
        after_the_pause(send_rate, timer)
        found = []
        for _ in range(6):
            send_rate.taken()
            found.append(startable(send_rate))
        assert found == [5, 6, 7, 8, 8, 8]

    def test_once_recovered_the_next_pause_is_short_again(self, timer: Timer) -> None:
        send_rate = SendRate(2, None, timer)
        for _ in range(3):
            send_rate.throttled(timer())
            timer.now += send_rate.seconds_to_wait()
        for _ in range(3):
            send_rate.taken()
        send_rate.throttled(timer())
        assert send_rate.seconds_to_wait() == FIRST_PAUSE_SECONDS


class TestBurst:
    def test_emails_that_were_under_way_when_it_first_asked_slow_it_down_no_further(self, timer: Timer) -> None:
        send_rate = SendRate(8, None, timer)
        started = timer()
        timer.now += 0.5
        for _ in range(8):
            send_rate.throttled(started)
        assert send_rate.seconds_to_wait() == FIRST_PAUSE_SECONDS
        assert after_the_pause(send_rate, timer) == 4
