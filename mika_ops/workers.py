"""Who does the work of a run: one process, several, or workers on other machines."""

from typing import Literal, TypeAlias

from pydantic import BaseModel, Field, SecretStr, field_validator

ExecutorName: TypeAlias = Literal["in_process", "multiprocess", "celery", "k8s"]


class Workers(BaseModel):
    """How a run is spread. The settings have each as a variable."""

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
