"""What ranks share out and put together again; an end of one is the end of all, and told once."""

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

from mtx.distributed.environment import is_launched, is_rank0
from mtx.distributed.launch import _end_like
from mtx.distributed.process_group import SINGLE, ProcessGroup, _meet, full_tensor, is_peer_error, is_sharded
from mtx.errors import ExitCode, UserError
from mtx.system.rng import decorrelate_rng

# Each rank does each thing that is done together, and says what came of it.
TOGETHER = """
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
    said = [group.rank, total, group.all_reduce_max(group.rank, -group.rank), group.all_gather(group.rank), found]
    print(json.dumps([*said, upper, one]) + "\\n", end="", flush=True)  # in one piece
"""


def run_together(code: str, count: int) -> subprocess.CompletedProcess[str]:
    """Run `code` in `count` ranks, by torch's own launcher."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command = [*launch, "--no-python", sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_done_together(count: int) -> None:
    done = run_together(TOGETHER, count)
    assert done.returncode == 0, done.stderr
    ranks = list(range(count))
    total = [float(sum(rank + 1 for rank in ranks)), 10.0 * count]
    expected = [
        f'[{rank}, {total}, [{count - 1}, 0], {ranks}, ["of 0"], ["A", "B", "C", "D", "E"], ["only"]]' for rank in ranks
    ]
    assert sorted(done.stdout.splitlines()) == expected


def test_alone_nothing_is_asked_of_anybody() -> None:
    assert not is_launched()
    assert (SINGLE.is_distributed, SINGLE.is_rank0) == (False, True)
    assert SINGLE.all_reduce_sum(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert SINGLE.all_reduce_max(3, 4) == [3, 4]
    assert (SINGLE.all_gather("a"), SINGLE.broadcast_from_0(lambda: "b")) == (["a"], "b")
    SINGLE.publish("nobody")
    SINGLE.barrier()


@given(items=st.lists(st.integers()), count=st.integers(1, 9))
def test_shares_are_all_and_about_the_same(items: list[int], count: int) -> None:
    shares: Sequence[Sequence[int]] = [ProcessGroup(number, count).share(items) for number in range(count)]
    assert sorted(chain(*shares)) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_ranks_draw_differently_and_the_first_as_if_alone() -> None:
    def drawn(rank: int) -> list[float]:
        torch.manual_seed(1)
        decorrelate_rng(rank)
        return torch.rand(5).tolist()

    torch.manual_seed(1)
    alone = torch.rand(5).tolist()
    assert drawn(0) == alone
    assert len({tuple(drawn(rank)) for rank in range(4)}) == 4
    assert drawn(3) == drawn(3)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({1: 8, 0: 5}, 5),
        ({0: 3}, 3),
        ({1: 143, 0: 143}, 143),
        ({0: 143, 1: -15}, 143),
        ({1: -9, 0: 143}, "rank 1 was killed by SIGKILL"),
        ({0: 5, 1: -9}, 5),
        ({0: 8, 1: -9}, "rank 1 was killed by SIGKILL"),
        ({3: -11}, "rank 3 was killed by SIGSEGV"),
        ({0: -200}, "signal 200"),
        ({0: 8, 1: 8}, "lost one another"),
    ],
)
def test_all_end_like_the_rank_that_has_a_reason(codes: dict[int, int], expected: int | str) -> None:
    if isinstance(expected, int):
        with pytest.raises(SystemExit) as left:
            _end_like(codes)
        assert left.value.code == expected
    else:
        with pytest.raises(UserError, match=expected) as told:
            _end_like(codes)
        assert told.value.code == ExitCode.PEER_LOST


LOSES_A_PEER = """
import os, torch
from mtx.cli.reporting import handle_errors
from mtx.distributed.process_group import join_group

@handle_errors
def main():
    with join_group() as group:
        if group.rank == 1:
            os._exit(0)  # which a launcher takes for success
        group.barrier()

main()
"""


@pytest.mark.parametrize(
    ("codes", "expected", "rank"),
    [
        ({1: 143, 0: 8}, 143, 1),
        ({0: 8, 1: 143}, 143, 1),
        ({0: 8, 1: -15}, 143, 1),
        ({1: -15, 0: -15}, 143, 1),
        ({0: -15, 1: 8}, 143, 0),
        ({1: 143, 0: -9}, 143, 1),
        ({1: -2}, 130, 1),
    ],
)
def test_a_signal_that_reached_one_rank_ends_all_and_is_reported(
    codes: dict[int, int], expected: int, rank: int
) -> None:
    """By the launcher, where rank 0 has not reported it: it was still starting, or lost the other one."""
    with pytest.raises(UserError, match=f"rank {rank} was stopped by a signal") as told:
        _end_like(codes)
    assert told.value.code == expected


def test_who_loses_a_peer_says_so_and_ends() -> None:
    done = run_together(LOSES_A_PEER, 2)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mtx: error")]
    assert "another process of this training was lost, or never came" in line
    assert "Run the same command to go on" in line
    assert "exitcode  : 8" in done.stderr


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_that_never_comes_is_not_waited_for(rank: str) -> None:
    shorter = LOSES_A_PEER.replace("@handle_errors", "from datetime import timedelta\n@handle_errors").replace(
        "def main():",
        "def main():\n    from mtx.distributed import process_group as pg; pg.LONGEST_START = timedelta(seconds=2)",
    )
    place = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-c", shorter]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **place})
    assert done.returncode == ExitCode.PEER_LOST
    assert "never came" in done.stderr.splitlines()[-1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def test_ranks_meet_those_that_came_with_them() -> None:
    """Whatever earlier attempts have left in the store."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    meetings = []
    for attempt in range(3):
        store.set("rank 1", f"who is gone {attempt}")
        with ThreadPoolExecutor(3) as threads:
            found = list(threads.map(lambda rank: _meet(store, rank, 3), (0, 2, 1)))
        assert found == [found[0]] * 3
        meetings.append(found[0])
    assert len(set(meetings)) == 3


def test_errors_that_others_cause_are_known() -> None:
    lost = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    assert is_peer_error(lost)
    assert not is_peer_error(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert is_peer_error(torch.distributed.DistBackendError("NCCL communicator was aborted"))


def test_a_module_or_tensor_of_one_process_is_whole() -> None:
    assert not is_sharded(torch.nn.Linear(1, 1))
    tensor = torch.ones(2)
    assert full_tensor(tensor) is tensor


@pytest.fixture
def _as_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("_as_rank")
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_wrong_config_is_told_by_the_first_rank_alone(rank: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mtx", "train", "train.lr=fast", "--run-dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "RANK": rank})
    assert done.returncode == ExitCode.USAGE
    assert bool(done.stderr) == (rank == "0")


@pytest.mark.usefixtures("_as_rank")
def test_a_rank_knows_that_it_was_launched() -> None:
    assert is_launched()
    assert not is_rank0()


def test_a_variable_that_others_set_too_silences_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert not is_launched()
    assert is_rank0()


def test_wrong_variables_of_a_launcher_are_usage(tmp_path: Path) -> None:
    place = {"RANK": "first", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    command = [sys.executable, "-c", LOSES_A_PEER]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **place})
    assert done.returncode == ExitCode.USAGE
    assert "RANK, WORLD_SIZE" in done.stderr.splitlines()[-1]
