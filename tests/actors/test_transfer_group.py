"""Who has which rank in a transfer group, and how its members agree to share memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import DistError

from actors.transfer.client import invitations
from actors.transfer.group import all_share, rank_of, shares
from learner.meeting import reach_store, serve_store

SECONDS = 30.0


@pytest.mark.parametrize("engines", [1, 2, 4])
@pytest.mark.parametrize(("workers", "replicas"), [(1, 1), (2, 1), (4, 1), (2, 3)])
def test_every_worker_of_every_engine_has_a_rank_of_its_own(
    engines: int, workers: int, replicas: int
) -> None:
    info = {"rank_offset": 1, "address": "here"}
    invited = invitations(info, engines, workers * replicas)
    assert all(one["address"] == "here" for one in invited)
    ranks = [
        rank_of(one["rank_offset"], worker=worker, workers=workers, replica=replica)
        for one in invited
        for replica in range(replicas)
        for worker in range(workers)
    ]
    assert ranks == list(range(1, 1 + engines * workers * replicas))
    assert info == {"rank_offset": 1, "address": "here"}


@pytest.mark.parametrize("sees", [[True], [True, True, True], [True, False, True], [False]])
def test_memory_is_shared_by_all_or_by_none(sees: list[bool]) -> None:
    size = len(sees) + 1
    store = serve_store("127.0.0.1", 0, size, SECONDS)

    def member(rank: int) -> bool:
        if rank == 0:
            return all_share(store, size, SECONDS)
        reached = reach_store("127.0.0.1", store.port, size, SECONDS)
        return shares(reached, rank, sees[rank - 1])

    with ThreadPoolExecutor(size) as threads:
        assert list(threads.map(member, range(size))) == [all(sees)] * size


def test_a_worker_that_does_not_say_is_not_waited_for_for_ever() -> None:
    store = serve_store("127.0.0.1", 0, 2, 0.5)
    with pytest.raises(DistError):
        all_share(store, 2, 0.5)
