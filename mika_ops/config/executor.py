"""What executes a run: one process, several, or workers on other machines."""

from importlib.util import find_spec
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, Field, SecretStr, field_validator

from mika_ops.setting_names import PLAIN_NAMES, SettingNames

ExecutorName: TypeAlias = Literal["in_process", "multiprocess", "celery", "k8s"]


CONNECT_TIMEOUT_SECONDS: Final = 5.0

_EXTRAS: Final = {"celery": "dagster_celery", "k8s": "dagster_k8s"}
"""The module that an executor needs, if it comes with an extra of the same name."""


class ExecutorSettings(BaseModel):
    """How a run is distributed. Each is a setting."""

    executor: ExecutorName = Field(
        "in_process",
        description=(
            "What executes a run: `in_process`, `multiprocess`, `celery` or `k8s`; the last two need an extra, "
            "`mika-ops[celery]`."
        ),
    )
    shards: int = Field(
        1,
        ge=1,
        le=64,
        description=(
            "The most shards into which emails, account deletes, raw payloads and webhook retries are split, for the "
            "workers of `MIKA_EXECUTOR`."
        ),
    )
    celery_broker_url: SecretStr | None = Field(
        None, description="The broker of `MIKA_EXECUTOR=celery`: `redis://…`, or RabbitMQ's `pyamqp://…`."
    )

    @field_validator("celery_broker_url")
    @classmethod
    def _is_a_broker(cls, url: SecretStr | None) -> SecretStr | None:
        schemes = ("redis", "rediss", "amqp", "amqps", "pyamqp")
        if url is not None and not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError("is no broker's address: write redis://host:6379/0 or pyamqp://user:password@host//")
        return url


def missing_requirement(workers: ExecutorSettings, names: SettingNames = PLAIN_NAMES) -> str | None:
    """Return what the executor lacks and how to supply it, or ``None`` if it has all."""
    name = workers.executor
    if name in _EXTRAS and find_spec(_EXTRAS[name]) is None:
        return f"{names('executor')}={name} needs an extra: pip install 'mika-ops[{name}]'"
    if name == "celery" and workers.celery_broker_url is None:
        return f"{names('executor')}=celery needs {names('celery_broker_url')}, the address of its broker"
    return None


def broker_problem(workers: ExecutorSettings, names: SettingNames = PLAIN_NAMES) -> str | None:
    """Return why the broker cannot be used, or ``None`` if it answers."""
    from kombu.connection import Connection

    url = "" if workers.celery_broker_url is None else workers.celery_broker_url.get_secret_value()
    try:
        with Connection(url, connect_timeout=CONNECT_TIMEOUT_SECONDS) as connection:  # type: ignore[no-untyped-call]
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_TIMEOUT_SECONDS)
    except Exception as error:  # noqa: BLE001 - whatever the transport raises, its text may hold the password
        return (
            f"the broker of {names('celery_broker_url')} cannot be reached ({type(error).__name__}): start it, fix its "
            f"address, or set {names('executor')}=in_process"
        )
    return None
