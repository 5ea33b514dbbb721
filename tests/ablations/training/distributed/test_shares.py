"""The batches of all ranks together are those of one process."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ablations.data.batches import EpochOrder, validation_keys


@given(
    size=st.integers(1, 300),
    share=st.integers(1, 20),
    world=st.integers(1, 6),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 400),
)
def test_the_shares_of_all_ranks_make_up_whole_batches(size, share, world, seed, epoch):
    batch = share * world
    alone = list(EpochOrder(size, batch, seed, epoch))
    parts = [EpochOrder(size, batch, seed, epoch, rank, world) for rank in range(world)]
    assert len(alone) == size // batch * batch == sum(len(part) for part in parts)
    keys = [list(part) for part in parts]
    assert [len(each) for each in keys] == [len(part) for part in parts]
    together = [
        key
        for begin in range(0, len(alone) // world, share)
        for each in keys
        for key in each[begin : begin + share]
    ]
    assert together == alone
    assert len(set(alone)) == len(alone)


@given(size=st.integers(0, 300), world=st.integers(1, 9))
def test_each_validation_image_belongs_to_one_rank(size, world):
    parts = [validation_keys(size, rank, world) for rank in range(world)]
    assert [key for part in parts for key in part] == validation_keys(size)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
