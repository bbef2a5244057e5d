"""Splitting a drain: each document is in one shard, and what one shard leaves another takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mika_ops.documents.sharding import Shard, all_shards, useful_shards
from mika_ops_tests.documents.test_sweep import Shelf, sent, shelf, sweep


@given(st.text(), st.integers(1, 64))
def test_every_document_is_in_exactly_one_shard(id_: str, count: int) -> None:
    assert sum(shard.takes(id_) for shard in all_shards(count)) == 1


@given(st.integers(1, 64), st.integers(0, 10_000))
def test_the_shares_of_a_limit_add_up_to_it_and_are_as_equal_as_can_be(count: int, limit: int) -> None:
    shares = [shard.share_of(limit) or 0 for shard in all_shards(count)]
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= 1


def test_without_a_limit_no_shard_has_one() -> None:
    assert Shard(0, 2).share_of(None) is None


@given(st.integers(1, 64).flatmap(lambda count: st.tuples(st.integers(0, count - 1), st.just(count))))
def test_a_shard_can_be_written_and_read(shard: tuple[int, int]) -> None:
    assert Shard.parse(str(Shard(*shard))) == Shard(*shard)


@pytest.mark.parametrize("text", ["", "0_of_4", "5_of_4", "four"])
def test_a_text_that_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Shard.parse(text)


@pytest.mark.parametrize(("due", "shards"), [(0, 1), (1, 1), (3, 3), (4, 4), (5_000, 4)])
def test_no_more_shards_are_made_than_documents_are_due(due: int, shards: int) -> None:
    assert useful_shards(4, due) == shards


class TestSweeps:
    @given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 4))
    def test_all_shards_together_take_each_document_once(self, count: int, shards: int, malformed: int) -> None:
        shop = shelf(count, malformed)
        sweeps = [sweep(shop, shard=shard) for shard in all_shards(shards)]
        taken = [id_ for each in sweeps for batch in each.batches(7) for id_ in batch]
        assert sorted(taken) == sorted(id_ for id_ in shop.documents if id_.startswith("b"))
        assert sum(each.malformed for each in sweeps) == malformed

    def test_a_sweep_that_helps_does_afterwards_what_the_others_have_not_done(self) -> None:
        shop = shelf(40, malformed=3)
        first, second = all_shards(2)
        helping = sweep(shop, shard=first, steals_work=True)

        helping.change(sent)

        assert helping.changed == helping.scanned == 40
        taken = [id_ for id_ in shop.documents if shop.documents[id_]["status"] == "sent"]
        assert len(taken) == 40
        late = sweep(shop, shard=second, steals_work=True)
        late.change(sent)
        assert late.changed == 0
        # Each malformed one is reported by the shard that it is in.
        assert helping.malformed + late.malformed == 3

    def test_its_own_come_first(self) -> None:
        shard = Shard(1, 2)
        taken = [id_ for batch in sweep(shelf(40), shard=shard, steals_work=True).batches(3) for id_ in batch]
        mine = [shard.takes(id_) for id_ in taken]
        assert mine == sorted(mine, reverse=True)
        assert len(taken) == len(set(taken)) == 40

    def test_a_sweep_that_does_not_help_leaves_the_others_alone(self) -> None:
        shard = Shard(0, 2)
        taken = [id_ for batch in sweep(shelf(40), shard=shard).batches() for id_ in batch]
        assert all(map(shard.takes, taken))
        assert 0 < len(taken) < 40

    @given(st.integers(0, 40), st.integers(0, 30), st.integers(1, 4))
    def test_a_limit_holds_over_all_shards(self, count: int, limit: int, shards: int) -> None:
        shop: Shelf = shelf(count)
        changed, more = 0, False
        for shard in all_shards(shards):
            each = sweep(shop, shard=shard, steals_work=True, limit=shard.share_of(limit))
            each.change(sent)
            changed, more = changed + each.changed, each.has_more
        assert changed == min(count, limit)
        assert more or changed == count
