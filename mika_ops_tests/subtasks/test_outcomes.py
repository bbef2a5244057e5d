"""Every subtask ends in exactly one of completed, failed and skipped, and looks like the others."""

import pytest

from mika_ops.clock import Clock
from mika_ops.host.components import COMPONENTS
from mika_ops.host.host import Host
from mika_ops.subtasks.email_outbox import EmailOutboxResult
from mika_ops.subtasks.outcome import Completed, Failed, Skipped, SubtaskFailed, SubtaskResult
from mika_ops.subtasks.registry import SUBTASK_NAMES, SUBTASKS
from mika_ops.subtasks.subtask import RunOptions, Subtask, outcome_of


class Counted(SubtaskResult):
    done: int = 0
    has_more: bool = False
    failed_ids: tuple[str, ...] = ()


def subtask(run: object, needs: tuple[str | tuple[str, ...], ...] = ()) -> Subtask:
    return Subtask(name="tried", description="Tried.", needs=needs, run=run, done=())  # type: ignore[arg-type]


def test_the_nine_run_in_the_order_of_mikas_own_maintenance() -> None:
    assert SUBTASK_NAMES == (
        "email_outbox",
        "stuck_emails",
        "raw_provider_payloads",
        "acp_sessions",
        "stock_reservations",
        "ephemeral_records",
        "account_delete_requests",
        "stuck_workflows",
        "webhook_retries",
    )


@pytest.mark.parametrize("each", SUBTASKS, ids=lambda each: each.name)
def test_a_subtask_needs_only_pieces_that_a_host_has(each: Subtask) -> None:
    names = {name for need in each.needs for name in ((need,) if isinstance(need, str) else need)}
    assert names
    assert names <= set(COMPONENTS)


@pytest.mark.parametrize("each", SUBTASKS, ids=lambda each: each.name)
def test_a_subtask_without_what_it_needs_is_skipped_and_says_which_setting_ends_that(
    each: Subtask, clock: Clock
) -> None:
    outcome = outcome_of(each, Host(), clock, RunOptions())
    assert isinstance(outcome, Skipped)
    assert "not configured" in outcome.reason
    assert "MIKA_" in outcome.reason


def test_one_of_several_alternative_pieces_is_enough(clock: Clock) -> None:
    either = subtask(lambda *_: Counted(done=1), needs=(("reservation_release", "admin_api"),))
    host = Host(admin_api=object())  # type: ignore[arg-type]
    assert isinstance(outcome_of(either, host, clock, RunOptions()), Completed)


def test_all_missing_pieces_are_named_at_once(clock: Clock) -> None:
    outcome = outcome_of(subtask(lambda *_: Counted(), needs=("ops", "admin_api")), Host(), clock, RunOptions())
    assert isinstance(outcome, Skipped)
    assert "ops and admin_api" in outcome.reason


def test_a_result_completes_with_its_duration(clock: Clock) -> None:
    ticks = iter([1.0, 1.25])
    outcome = outcome_of(subtask(lambda *_: Counted(done=3)), Host(), clock, RunOptions(), timer=lambda: next(ticks))
    assert outcome == Completed(result=Counted(done=3), duration_ms=250)


def test_an_error_fails_with_its_sentence(clock: Clock) -> None:
    def run(*_: object) -> Counted:
        raise RuntimeError("the shelf is gone; put it back")

    outcome = outcome_of(subtask(run), Host(), clock, RunOptions())
    assert isinstance(outcome, Failed)
    assert outcome.error == "the shelf is gone; put it back"
    assert outcome.result is None


def test_an_error_without_words_is_named_by_its_type(clock: Clock) -> None:
    def run(*_: object) -> Counted:
        raise KeyError

    outcome = outcome_of(subtask(run), Host(), clock, RunOptions())
    assert isinstance(outcome, Failed)
    assert outcome.error == "KeyError"


def test_what_was_done_before_a_failure_is_kept(clock: Clock) -> None:
    def run(*_: object) -> Counted:
        raise SubtaskFailed("stopped half-way", Counted(done=7))

    outcome = outcome_of(subtask(run), Host(), clock, RunOptions())
    assert isinstance(outcome, Failed)
    assert outcome.result == Counted(done=7)


def test_an_error_tells_no_address_link_or_token(clock: Clock) -> None:
    def run(*_: object) -> Counted:
        raise RuntimeError("550 no such user ada@example.test, see https://mail.test/x?t=1, Bearer ec_pat_secret")

    outcome = outcome_of(subtask(run), Host(), clock, RunOptions())
    assert isinstance(outcome, Failed)
    for secret in ("ada@example.test", "mail.test", "ec_pat_secret"):
        assert secret not in outcome.error


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure_and_passes_through(interruption: type[BaseException], clock: Clock) -> None:
    def run(*_: object) -> Counted:
        raise interruption

    with pytest.raises(interruption):
        outcome_of(subtask(run), Host(), clock, RunOptions())


def test_counts_and_ids_are_told_apart() -> None:
    result = Counted(done=2, has_more=True, failed_ids=("a", "b"))
    assert result.counts() == {"done": 2, "has_more": True}
    assert result.named_ids() == {"failed_ids": ("a", "b")}


def test_the_words_of_a_result_tell_no_address_and_no_link() -> None:
    drained = EmailOutboxResult(stopped_reason="550 <ada@example.test> refused, see https://mail.test/1")
    assert "example.test" not in drained.words()["stopped_reason"]
    assert "mail.test" not in drained.words()["stopped_reason"]
