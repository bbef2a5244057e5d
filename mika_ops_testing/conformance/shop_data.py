"""What a host stores for a test: documents, reservations, ephemeral rows and ACP sessions."""

from collections.abc import Sequence
from dataclasses import dataclass

from mika_ops.documents.document import Document
from mika_ops.timestamps import Timestamp
from mika_ops_testing.builders import BEFORE


@dataclass(frozen=True)
class Reservation:
    """An active reservation of a quantity of a stock item."""

    id: str
    item: str = "bowl"
    quantity: int = 1
    expires_at: Timestamp = BEFORE
    customer_id: str | None = None


@dataclass(frozen=True)
class EphemeralRow:
    """An ephemeral row; ``kind`` is ``token``, ``rate_limit``, ``lock``, ``nonce`` or ``cache_marker``."""

    key: str
    kind: str = "token"
    subject: str | None = None
    expires_at: Timestamp = BEFORE


@dataclass(frozen=True)
class ShopData:
    """What waits in a shop: ops documents, reservations of the stock item ``bowl``, ephemeral rows and ACP sessions."""

    ops: Sequence[Document] = ()
    reservations: Sequence[Reservation] = ()
    ephemeral: Sequence[EphemeralRow] = ()
    acp_sessions: Sequence[Document] = ()
