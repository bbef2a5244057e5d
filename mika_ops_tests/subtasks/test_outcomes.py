"""Every subtask ends as exactly one of completed, failed and skipped, and has the same shape as the others."""

import pytest

from mika_ops.clock import Clock
from mika_ops.host.components import COMPONENTS
from mika_ops.host.host import Host
from mika_ops.subtasks.email_outbox import EmailOutboxResult
from mika_ops.subtasks.outcome import (
    Completed,
    Failed,
    NotChosen,
    Outcome,
    Skipped,
    SubtaskFailed,
    SubtaskResult,
    SweptResult,
    format_outcome,
    merge_outcomes,
    outcome_facts,
)
from mika_ops.subtasks.registry import SUBTASK_NAMES, SUBTASKS
from mika_ops.subtasks.subtask import Need, RunOptions, Subtask, outcome_of


class Counted(SubtaskResult):
    done: int = 0
    has_more: bool = False
    failed_ids: tuple[str, ...] = ()


def subtask(run: object, needs: tuple[Need, ...] = ()) -> Subtask:
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
def test_a_subtask_needs_only_components_that_a_host_has(each: Subtask) -> None:
    names = set(each.components)
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


def test_one_of_several_alternative_components_is_enough(clock: Clock) -> None:
    either = subtask(lambda *_: Counted(done=1), needs=(("reservation_release", "admin_api"),))
    host = Host(admin_api=object())  # type: ignore[arg-type]
    assert isinstance(outcome_of(either, host, clock, RunOptions()), Completed)


def test_all_missing_components_are_named_at_once(clock: Clock) -> None:
    outcome = outcome_of(subtask(lambda *_: Counted(), needs=(("ops",), ("admin_api",))), Host(), clock, RunOptions())
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


def test_counts_and_ids_are_distinguished() -> None:
    result = Counted(done=2, has_more=True, failed_ids=("a", "b"))
    assert result.counts() == {"done": 2, "has_more": True}
    assert result.named_ids() == {"failed_ids": ("a", "b")}


def test_the_words_of_a_result_tell_no_address_and_no_link() -> None:
    drained = EmailOutboxResult(stopped_reason="550 <ada@example.test> refused, see https://mail.test/1")
    assert "example.test" not in drained.words()["stopped_reason"]
    assert "mail.test" not in drained.words()["stopped_reason"]


def test_a_result_cannot_hide_how_the_subtask_ended() -> None:
    class Misnamed(SubtaskResult):
        status: str = "fine"
        error: str = "none"
        duration_ms: int = 7

    facts = outcome_facts(Failed(error="the disk is full", result=Misnamed(), duration_ms=1))

    assert facts == {"status": "failed", "duration_ms": 1, "error": "the disk is full"}


def test_an_outcome_in_one_line_is_its_sentence_and_what_it_counted() -> None:
    assert format_outcome(Failed(error="the disk is full", result=Counted(done=2))) == "the disk is full; done 2"
    assert format_outcome(Completed(result=Counted(done=2, has_more=True))) == "done 2, has_more yes"
    assert format_outcome(Completed(result=Counted())) == "nothing due"
    assert format_outcome(NotChosen()) == "not chosen for this run"


class TestMergingShards:
    def test_counts_are_added_and_the_longest_duration_is_that_of_all(self) -> None:
        shards: list[Outcome] = [
            Completed(result=Counted(done=3), duration_ms=30),
            Completed(result=Counted(done=4, has_more=True), duration_ms=50),
        ]
        assert outcome_facts(merge_outcomes(shards)) == {
            "status": "completed",
            "duration_ms": 50,
            "done": 7,
            "has_more": True,
        }

    def test_it_failed_where_one_did_with_each_error_once_and_all_that_was_done(self) -> None:
        shards: list[Outcome] = [
            Failed(error="the disk is full", result=Counted(done=2), duration_ms=1),
            Completed(result=Counted(done=5), duration_ms=1),
            Failed(error="the disk is full", duration_ms=1),
        ]
        assert outcome_facts(merge_outcomes(shards)) == {
            "status": "failed",
            "duration_ms": 1,
            "error": "the disk is full",
            "done": 7,
            "has_more": False,
        }

    @pytest.mark.parametrize("skipped", [Skipped(reason="not configured: ops"), NotChosen()])
    def test_it_was_skipped_where_all_were(self, skipped: Skipped) -> None:
        assert merge_outcomes([skipped, skipped]) == skipped

    def test_a_shard_that_was_skipped_says_nothing_of_the_others(self) -> None:
        skipped, completed = Skipped(reason="not configured: ops"), Completed(result=Counted(done=5), duration_ms=2)
        merged = merge_outcomes((skipped, completed))
        assert outcome_facts(merged) == {"status": "completed", "duration_ms": 2, "done": 5, "has_more": False}

    def test_of_many_ids_the_first_are_kept(self) -> None:
        shards = [Completed(result=SweptResult(malformed_ids=tuple(f"{s}-{n}" for n in range(15)))) for s in "ab"]
        merged = merge_outcomes(shards)
        assert isinstance(merged, Completed)
        assert merged.result.named_ids()["malformed_ids"] == (
            *(f"a-{n}" for n in range(15)),
            *(f"b-{n}" for n in range(5)),
        )

    def test_the_words_of_all_shards_are_kept_each_once(self) -> None:
        stopped = EmailOutboxResult(stopped_reason="the mail server refuses all")
        merged = merge_outcomes([Completed(result=stopped), Completed(result=stopped)])
        assert outcome_facts(merged)["stopped_reason"] == "the mail server refuses all"
