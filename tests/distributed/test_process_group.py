"""Collectives of several ranks and of one; the loss of a rank ends all of them and is reported once."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from mtx.distributed.launch import is_launched, is_rank0
from mtx.distributed.process_group import SINGLE, ProcessGroup, _attempt_id, full_tensor, is_peer_error, is_sharded
from mtx.errors import ExitCode
from mtx.system.rng import decorrelate_rng

# Each rank calls every collective and prints the results.
COLLECTIVES = """
import json, sys, torch
from mtx.distributed.process_group import join_group
with join_group() as group:
    if group.is_rank0:
        group.publish("begun")
    else:
        assert group.wait_for_message() == "begun"
    words = ["a", "b", "c", "d", "e"]
    total = group.all_reduce_sum(torch.tensor([1.0 + group.rank, 10.0])).tolist()
    found = group.broadcast_from_0(lambda: [f"of {group.rank}"])
    upper = group.interleave([word.upper() for word in group.share(words)])
    one = group.interleave(group.share(["only"]))
    results = [group.rank, total, group.all_reduce_max(group.rank, -group.rank), group.all_gather(group.rank), found]
    print(json.dumps([*results, upper, one]) + "\\n", end="", flush=True)  # in one piece
"""


def run_ranks(code: str, count: int) -> subprocess.CompletedProcess[str]:
    """Run `code` in `count` ranks with torch's own launcher."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command = [*launch, "--no-python", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.process
@pytest.mark.parametrize("count", [1, 3])
def test_collectives(count: int) -> None:
    done = run_ranks(COLLECTIVES, count)
    assert done.returncode == 0, done.stderr
    ranks = list(range(count))
    total = [float(sum(rank + 1 for rank in ranks)), 10.0 * count]
    expected = [
        f'[{rank}, {total}, [{count - 1}, 0], {ranks}, ["of 0"], ["A", "B", "C", "D", "E"], ["only"]]' for rank in ranks
    ]
    assert sorted(done.stdout.splitlines()) == expected


def test_collectives_of_a_process_that_trains_alone() -> None:
    assert not is_launched()
    assert (SINGLE.is_distributed, SINGLE.is_rank0) == (False, True)
    assert SINGLE.all_reduce_sum(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert SINGLE.all_reduce_max(3, 4) == [3, 4]
    assert (SINGLE.all_gather("a"), SINGLE.broadcast_from_0(lambda: "b")) == (["a"], "b")
    SINGLE.publish("nobody")
    SINGLE.barrier()


@given(items=st.lists(st.integers()), count=st.integers(1, 9))
def test_shares_are_complete_and_about_equal(items: list[int], count: int) -> None:
    shares: Sequence[Sequence[int]] = [ProcessGroup(number, count).share(items) for number in range(count)]
    assert sorted(chain(*shares)) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_ranks_draw_different_numbers_and_rank_0_those_of_a_single_process() -> None:
    def drawn(rank: int) -> list[float]:
        torch.manual_seed(1)
        decorrelate_rng(rank)
        return torch.rand(5).tolist()

    torch.manual_seed(1)
    alone = torch.rand(5).tolist()
    assert drawn(0) == alone
    assert len({tuple(drawn(rank)) for rank in range(4)}) == 4
    assert drawn(3) == drawn(3)


LOSES_A_PEER = """
import os, torch
from mtx.cli.reporting import handle_errors
from mtx.distributed.process_group import join_group

@handle_errors()
def main():
    with join_group() as group:
        if group.rank == 1:
            os._exit(0)  # a launcher takes this for success
        group.barrier()

main()
"""


@pytest.mark.process
def test_a_rank_that_loses_a_peer_reports_it_and_exits() -> None:
    done = run_ranks(LOSES_A_PEER, 2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mtx: error")]
    assert "another process of this training was lost or never started" in line
    assert "Run the same command to continue" in line
    assert "exitcode  : 8" in done.stderr


@pytest.mark.process
@pytest.mark.parametrize("rank", ["0", "1"])
def test_waiting_for_a_missing_rank_has_a_time_limit(rank: str) -> None:
    shorter = LOSES_A_PEER.replace("@handle_errors", "from datetime import timedelta\n@handle_errors").replace(
        "def main():",
        "def main():\n    from mtx.distributed import process_group as pg; pg.START_TIMEOUT = timedelta(seconds=2)",
    )
    place = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-c", shorter]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **place})
    assert done.returncode == ExitCode.PEER_LOST
    assert "never started" in done.stderr.splitlines()[-1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def test_ranks_find_those_of_their_own_attempt() -> None:
    """The keys of earlier attempts, which stay in the store, do not confuse them."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    ids = []
    for attempt in range(3):
        store.set("rank 1", f"from attempt {attempt}")
        with ThreadPoolExecutor(3) as threads:
            found = list(threads.map(lambda rank: _attempt_id(store, rank, 3), (0, 2, 1)))
        assert found == [found[0]] * 3
        ids.append(found[0])
    assert len(set(ids)) == 3


def test_errors_caused_by_lost_peers_are_recognized() -> None:
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    assert is_peer_error(lost)
    assert not is_peer_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert is_peer_error(torch.distributed.DistBackendError("NCCL communicator was aborted"))


def test_modules_and_tensors_of_a_single_process_are_not_sharded() -> None:
    assert not is_sharded(torch.nn.Linear(1, 1))
    tensor = torch.ones(2)
    assert full_tensor(tensor) is tensor


@pytest.fixture
def _as_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.process
@pytest.mark.usefixtures("_as_rank")
@pytest.mark.parametrize("rank", ["0", "1"])
def test_only_rank_0_reports_a_wrong_config(rank: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mtx", "train", "train.lr=fast", "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "RANK": rank})
    assert done.returncode == ExitCode.USAGE
    assert bool(done.stderr) == (rank == "0")


@pytest.mark.usefixtures("_as_rank")
def test_a_launched_process_knows_its_rank() -> None:
    assert is_launched()
    assert not is_rank0()


def test_the_variable_rank_alone_does_not_make_a_process_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert not is_launched()
    assert is_rank0()


@pytest.mark.process
def test_wrong_variables_of_a_launcher_are_a_usage_error(tmp_path: Path) -> None:
    place = {"RANK": "first", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    command = [sys.executable, "-c", LOSES_A_PEER]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **place})
    assert done.returncode == ExitCode.USAGE
    assert "RANK, WORLD_SIZE" in done.stderr.splitlines()[-1]
