"""A job whose drains are split does the same, and says the same of each subtask."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pytest

from mika_ops.config.errors import SettingsError
from mika_ops.config.loading import isolated_settings
from mika_ops.config.settings import Settings
from mika_ops.host.host import Host
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.orchestration.maintenance.job import JOB_NAME
from mika_ops.ports.backlog import Backlog, Due
from mika_ops.store.opening import open_database
from mika_ops.subtasks.registry import SUBTASK_NAMES, SUBTASKS
from mika_ops_testing.builders import documents_of, email, put
from mika_ops_testing.shop_at_work import EMAILS, PEOPLE, shop_at_work
from mika_ops_testing.smtp_server import mail_server
from mika_ops_tests.orchestration.fake_host import Backlogs, Broken, Outbox, run_job, whole_host

SPREAD = {"email_outbox", "raw_provider_payloads", "account_delete_requests", "webhook_retries"}


def steps_with(host: Host, settings: Settings) -> list[str]:
    """Run the job and return its steps, in order."""
    job = build_definitions(host=host, settings=settings).resolve_job_def(JOB_NAME)
    with dg.DagsterInstance.ephemeral() as instance:
        run = job.execute_in_process(instance=instance)
        assert run.success
        return [str(event.step_key) for event in run.all_events if event.is_step_success]


def due(count: int) -> Backlogs:
    return Backlogs(Backlog({name: Due(count) for name in SUBTASK_NAMES}))


def without_durations(shown: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    of_subtasks = {name: shown[name] for name in SUBTASK_NAMES}
    return {name: {k: v for k, v in each.items() if k != "duration_ms"} for name, each in of_subtasks.items()}


def test_four_subtasks_can_be_spread() -> None:
    assert {subtask.name for subtask in SUBTASKS if subtask.shardable} == SPREAD


def test_with_one_shard_the_job_is_the_nine_subtasks_and_the_summary() -> None:
    assert steps_with(whole_host(), isolated_settings()) == [*SUBTASK_NAMES, "summary"]
    job = build_definitions(settings=isolated_settings()).resolve_job_def(JOB_NAME)
    assert job.executor_def.name == dg.in_process_executor.name


def test_with_several_the_drains_have_a_step_for_each_and_one_of_their_own_name() -> None:
    steps = steps_with(whole_host(backlog=due(1_000)), isolated_settings(shards=3))

    for subtask in SPREAD:
        parts = [f"{subtask}_shard[{number}_of_3]" for number in (1, 2, 3)]
        assert [step for step in steps if step.startswith(subtask)] == [f"{subtask}_shards", *parts, subtask]
    assert [step for step in steps if step in (*SUBTASK_NAMES, "summary")] == [*SUBTASK_NAMES, "summary"]


@pytest.mark.parametrize(("count", "shards"), [(0, 1), (2, 2), (1_000, 3)])
def test_no_more_shards_are_made_than_documents_are_due(count: int, shards: int) -> None:
    steps = steps_with(whole_host(backlog=due(count)), isolated_settings(shards=3))
    assert len([step for step in steps if step.startswith("webhook_retries_shard[")]) == shards


@pytest.mark.parametrize("backlog", [Broken(), None], ids=["broken", "none"])
def test_a_backlog_that_cannot_be_read_keeps_no_shard_from_running(backlog: object) -> None:
    steps = steps_with(whole_host(backlog=backlog), isolated_settings(shards=2))
    assert len([step for step in steps if step.startswith("email_outbox_shard[")]) == 2


def test_a_hosts_own_outbox_that_cannot_be_split_is_drained_once() -> None:
    outbox = Outbox()
    run = run_job(whole_host(backlog=due(1_000), email_outbox=outbox), settings=isolated_settings(shards=3))
    assert run.statuses["email_outbox"] == "completed"
    assert len(outbox.drains) == 1


def test_what_is_skipped_and_what_fails_says_the_same_as_unsplit() -> None:
    host = whole_host(backlog=due(100), ops=Broken(), email_outbox=None, admin_api=None)
    whole, split = (run_job(host, settings=isolated_settings(shards=shards)) for shards in (1, 3))
    assert split.statuses["email_outbox"] == "skipped"
    assert split.statuses["raw_provider_payloads"] == "failed"
    assert without_durations(split.metadata) == without_durations(whole.metadata)


def test_a_whole_shop_is_maintained_by_four_shards_as_by_one(url: str) -> None:
    with shop_at_work(url) as world:
        run = run_job(Host(), settings=isolated_settings(**world.settings, shards=4))

        assert run.success
        assert world.broken_promises(interruptions=0) == []
        assert run.metadata["email_outbox"]["sent"] == EMAILS
        assert run.metadata["raw_provider_payloads"]["purged"] == 80
        assert run.metadata["account_delete_requests"]["completed"] == PEOPLE


def test_a_limit_holds_over_all_shards(url: str) -> None:
    with open_database(url) as shop, mail_server() as mailroom:
        put(shop, "ops", *(email(f"email_{number:03}") for number in range(60)))
        settings = isolated_settings(
            database_url=url,
            smtp_url=f"smtp://127.0.0.1:{mailroom.port}",
            email_from="shop@example.test",
            shards=4,
            limits={"email_outbox": 25},
        )
        shown = run_job(Host(), settings=settings).metadata["email_outbox"]
        assert (shown["sent"], shown["has_more"]) == (25, True)
        sent = [document for document in documents_of(shop, "ops").values() if document["status"] == "sent"]
        assert len(sent) == 25


class TestWrongSettings:
    def test_celery_without_a_broker(self) -> None:
        with pytest.raises(SettingsError, match="MIKA_EXECUTOR=celery needs MIKA_CELERY_BROKER_URL"):
            build_definitions(settings=isolated_settings(executor="celery"))

    @pytest.mark.parametrize(("executor", "module"), [("celery", "dagster_celery"), ("k8s", "dagster_k8s")])
    def test_an_executor_whose_extra_is_not_installed(
        self, executor: str, module: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mika_ops.config.executor.find_spec", lambda name: None if name == module else name)
        with pytest.raises(SettingsError, match=rf"pip install 'mika-ops\[{executor}\]'"):
            build_definitions(settings=isolated_settings(executor=executor))

    def test_a_shop_among_several_reads_its_own_variables(self) -> None:
        with pytest.raises(SettingsError, match="MIKA_EU_EXECUTOR=celery needs MIKA_EU_CELERY_BROKER_URL"):
            build_definitions(settings=isolated_settings(executor="celery"), name="eu")

    def test_a_broker_of_a_kind_that_there_is_not(self) -> None:
        with pytest.raises(ValueError, match="is no broker's address: write redis://"):
            isolated_settings(celery_broker_url="localhost:6379")

    @pytest.mark.parametrize("executor", ["multiprocess", "k8s"])
    def test_the_other_executors_load(self, executor: str) -> None:
        job = build_definitions(settings=isolated_settings(executor=executor)).resolve_job_def(JOB_NAME)
        assert executor in job.executor_def.name
