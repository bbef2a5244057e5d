"""The tables that mika-ops itself creates."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

own: Final = MetaData()
"""The tables that are ours."""


acp_sessions: Final = Table(
    "mika_acp_sessions",
    own,
    Column("id", Text, primary_key=True, comment="The session's id."),
    Column("status", Text, nullable=False, comment="The session record's status."),
    Column("expires_at", Text, comment="The record's expiresAt."),
    Column("expired_at", Text, comment="The record's expiredAt."),
    Column("purge_at", Text, comment="The record's purgeAt."),
    Column("updated_at", Text, nullable=False, comment="The record's updatedAt."),
    Column(
        "version",
        BigInteger().with_variant(Integer, "sqlite"),
        comment="The record's version: compare it when writing, and raise it by one.",
    ),
    Column("data", Text, nullable=False, comment="The whole session record, as JSON text."),
    Index("idx_mika_acp_sessions_purge", "purge_at"),
    Index("idx_mika_acp_sessions_expires", "expired_at", "expires_at"),
)


acp_idempotency_keys: Final = Table(
    "mika_acp_idempotency_keys",
    own,
    Column("key", Text, primary_key=True, comment="The idempotency key of a request."),
    Column("session_id", Text, nullable=False, comment="The session that the key belongs to."),
    Column("created_at", Text, nullable=False, comment="When the key was first claimed."),
    Column("fencing_token", Text, comment="The token of the pending claim; null once the key is bound."),
    Column("expires_at", Text, comment="When another request may take the pending claim over."),
    Index("idx_mika_acp_idempotency_keys_session", "session_id"),
)


OWN_VERSION: Final = 2
"""The version of mika-ops' own tables that this mika-ops reads and writes."""

UPGRADES: Final[dict[int, dict[str, tuple[str, ...]]]] = {
    1: {
        "sqlite": (
            "ALTER TABLE mika_acp_idempotency_keys ADD COLUMN fencing_token TEXT",
            "ALTER TABLE mika_acp_idempotency_keys ADD COLUMN expires_at TEXT",
            "ALTER TABLE mika_acp_idempotency_keys DROP COLUMN response_json",
        ),
        "postgresql": (
            "ALTER TABLE mika_acp_sessions ALTER COLUMN version TYPE bigint",
            "ALTER TABLE mika_acp_idempotency_keys ADD COLUMN fencing_token TEXT",
            "ALTER TABLE mika_acp_idempotency_keys ADD COLUMN expires_at TEXT",
            "ALTER TABLE mika_acp_idempotency_keys DROP COLUMN response_json",
        ),
    },
}
"""The statements that upgrade the tables in place, by the version that they have, to the next version.

A key of version 1 was stored with its answer: it is bound, which is what no fencing token says.
"""


own_version: Final = Table(
    "mika_ops_schema",
    own,
    Column("version", Integer, primary_key=True, autoincrement=False, comment="The version of mika-ops' own tables."),
)
