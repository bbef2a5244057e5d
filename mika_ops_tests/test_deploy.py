"""The files for production are ready to use."""

from pathlib import Path

import dagster as dg
import pytest

from mika_ops.demo.embedded_postgres import create_database
from mika_ops.orchestration.definitions import build_definitions
from mika_ops.settings import isolated_settings
from mika_ops_tests.sites import PostgresSites

PROJECT = Path(__file__).resolve().parents[1]


def test_the_production_instance_keeps_a_run_on_postgres(
    postgres_sites: PostgresSites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = create_database(postgres_sites.server_url, "dagster").replace("+psycopg:", "+psycopg2:")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
    (tmp_path / "dagster.yaml").write_text((PROJECT / "deploy" / "dagster.yaml").read_text())
    job = build_definitions(settings=isolated_settings()).resolve_job_def("mika_maintenance")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run = job.execute_in_process(instance=instance)
        assert run.success
        kept = instance.get_run_by_id(run.run_id)
        assert kept is not None
        assert kept.status is dg.DagsterRunStatus.SUCCESS
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
        assert len(events) == 10
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
