"""The example's documents in memory fit their port, as those of the database do."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from examples.own_host_documents import Documents
from mika_ops.documents.repository import Change
from mika_ops_testing.conformance import DocumentRepositoryConformance


class TestDocuments(DocumentRepositoryConformance):
    @pytest.fixture
    def make_repository(self) -> Any:
        return Documents


def test_no_change_of_another_thread_is_lost() -> None:
    documents = Documents({"id": "counter", "n": 0})

    def add(_turn: int) -> None:
        documents.change(["counter"], lambda _id, counter: Change({**counter, "n": counter["n"] + 1}, None))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(400)))

    assert documents.read(["counter"])["counter"]["n"] == 400
