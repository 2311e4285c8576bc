"""Several ranks train like one: same steps, same scores, also if stopped or killed anywhere (gloo, on a CPU)."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pytest
import torch
from safetensors.torch import load_file

from mtx.checkpoint.training import newest_checkpoint, saved_steps
from mtx.errors import ExitCode
from mtx.train.records import read_metrics
from tests.faults.process import Running, Start
from tests.faults.starter import Starter

pytestmark = pytest.mark.process

STEPS = 24
WITHOUT_DROPOUT = ["model.dropout=0", "train.lr=1e-3", f"train.max_steps={STEPS}", "train.log_every=1"]
LIKE_ONE = {"rel": 1e-6, "abs": 1e-9}

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for the ranks in /proc")
Train = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def train(config_path: Path, program: Sequence[str]) -> Train:
    """Runs `mtx train` to its end."""

    def train(run: Path, *more: str, program: Sequence[str] = program) -> subprocess.CompletedProcess[str]:
        line = [*program, "train", "--config", str(config_path), "--run-dir", str(run), *more]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    return train


def records(run: Path, event: str) -> list[dict[str, Any]]:
    return [record for record in read_metrics(run / "metrics.jsonl") if record["event"] == event]


def assert_alike(run: Path, other: Path) -> None:
    """Losses, gradients and dev scores are equal at every step, and so are the final weights."""
    for event, names in (("update", ["loss", "nll", "grad_norm"]), ("validation", ["loss"])):
        found, expected = records(run, event), records(other, event)
        assert [record["step"] for record in found] == [record["step"] for record in expected]
        for name in names:
            values = [[record[name] for record in each if name in record] for each in (found, expected)]
            assert values[0] == pytest.approx(values[1], **LIKE_ONE), name
    scores = [[(record["bleu"], record["chrf"]) for record in records(each, "validation")] for each in (run, other)]
    assert scores[0] == scores[1]
    weights = load_file(run / "model" / "model.safetensors")
    for name, weight in load_file(other / "model" / "model.safetensors").items():
        if not name.endswith("k_proj.bias"):  # softmax ignores it: its gradient is rounding error
            torch.testing.assert_close(weights[name], weight, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def alone(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    assert train(run, *WITHOUT_DROPOUT).returncode == 0
    assert len(records(run, "update")) == STEPS
    return run


NEW_PYTHON = [sys.executable, "-m", "mtx"]


@pytest.mark.parametrize(
    ("count", "parallel", "start"),
    [(2, "ddp", {"program": NEW_PYTHON}), (4, "ddp", {}), (2, "fsdp", {})],
    ids=["2-ddp", "4-ddp", "2-fsdp"],
)
def test_several_ranks_train_like_one(
    count: int, parallel: str, start: dict[str, Any], alone: Path, train: Train, tmp_path: Path
) -> None:
    done = train(tmp_path / "run", *WITHOUT_DROPOUT, f"--devices={count}", f"train.parallel={parallel}", **start)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'model'}\n", "one line, from one rank"
    assert done.stderr.count("\nstep 7/") == 1
    assert_alike(tmp_path / "run", alone)


def test_a_run_continues_with_another_number_of_ranks(alone: Path, train: Train, tmp_path: Path) -> None:
    """Two ranks, then one, then two with sharded weights see the batches in the same order as one."""
    run = tmp_path / "run"
    ways = [(7, "--devices=2"), (13, ""), (STEPS, "--devices=2 train.parallel=fsdp")]
    for steps, way in ways:
        done = train(run, *WITHOUT_DROPOUT, f"train.max_steps={steps}", *way.split())
        assert done.returncode == 0, done.stderr
    assert "ranks was 1, is 2" in done.stderr
    losses = [[record["loss"] for record in records(each, "update")] for each in (run, alone)]
    assert losses[0] == pytest.approx(losses[1], **LIKE_ONE)


@dataclass(frozen=True)
class TwoRanks:
    """A run of two ranks."""

    launcher: Running
    ranks: list[int]
    """Their process ids."""
    stderr: TextIO

    def send(self, number: signal.Signals, whom: str) -> None:
        """Send a signal to the launcher, or only to the second rank."""
        os.kill({"launcher": self.launcher.pid, "rank": self.ranks[1]}[whom], number)

    def end(self) -> tuple[int | None, str, str]:
        """Wait for the end of all; returns exit code, stdout and the rest of stderr."""
        err = self.stderr.read()
        code = self.launcher.status(900)
        assert all(map(has_ended, self.ranks))
        return code, self.launcher.start.printed[0].read_text(), err


StartTwo = Callable[..., TwoRanks]


@pytest.fixture
def start_two(config_path: Path, starter: Starter, tmp_path: Path) -> Iterator[StartTwo]:
    """Starts a run of two ranks in `run` and waits until it has logged a line starting with `until`."""
    with ExitStack() as ends:

        def start_two(*more: str, until: str) -> TwoRanks:
            arguments = ["train", "--config", str(config_path), "--run-dir", "run", "--devices=2", *more]
            start = Start(arguments, tmp_path)
            os.mkfifo(start.printed[1])
            reading = os.open(start.printed[1], os.O_RDONLY | os.O_NONBLOCK)  # else the launcher waits for a reader
            stderr = ends.enter_context(open(reading))
            launcher = starter.start(start)
            ends.callback(launcher.kill)
            os.set_blocking(reading, True)
            assert any(line.startswith(until) for line in stderr)
            tasks = Path(f"/proc/{launcher.pid}/task").iterdir()
            children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
            ranks = {Path(f"/proc/{pid}/comm").read_text(): pid for pid in children}
            return TwoRanks(launcher, [ranks["rank 0\n"], ranks["rank 1\n"]], stderr)

        yield start_two


def has_ended(pid: int) -> bool:
    """Whether the process `pid` ends in time."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 900)[0])
    finally:
        os.close(process)


@linux
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_all_and_the_run_can_continue(
    rank: int, start_two: StartTwo, alone: Path, train: Train, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    two = start_two(*WITHOUT_DROPOUT, until="step 10/")
    os.kill(two.ranks[rank], signal.SIGKILL)
    code, out, err = two.end()
    assert (code, out) == (ExitCode.PEER_LOST, "")
    assert err.splitlines()[-1].startswith(f"mtx: error: rank {rank} was killed by SIGKILL. Run the same command")
    assert err.count("mtx: error") == 1
    assert not (run / "model").exists()
    if rank == 0:  # which held the lock
        done = train(run, *WITHOUT_DROPOUT, "--devices=2")
        assert done.returncode == 0, done.stderr
        assert_alike(run, alone)


@pytest.fixture(scope="module")
def with_dropout(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of two ranks."""
    run = tmp_path_factory.mktemp("two") / "run"
    assert train(run, "--devices=2", "train.max_steps=20").returncode == 0
    return run


@linux
@pytest.mark.parametrize(
    ("number", "code", "whom"),
    [(signal.SIGINT, 130, "launcher"), (signal.SIGTERM, 143, "rank")],
)
def test_a_signal_makes_all_ranks_save_and_the_resumed_run_is_the_same(
    number: signal.Signals,
    code: int,
    whom: str,
    start_two: StartTwo,
    with_dropout: Path,
    train: Train,
    tmp_path: Path,
) -> None:
    """Each rank has its own random state for dropout, which is restored."""
    run, more = tmp_path / "run", ["train.max_steps=20", "train.log_every=1"]
    two = start_two(*more, until="step 7/")
    two.send(number, whom)
    ended, out, err = two.end()
    assert (ended, out) == (code, "")
    assert err.count("mtx: error") == 1
    assert "stopped by a signal at step" in err.splitlines()[-1]
    assert saved_steps(run / "checkpoints")[-1] >= 7
    assert train(run, *more, "--devices=2").returncode == 0
    weights = [(each / "model" / "model.safetensors").read_bytes() for each in (run, with_dropout)]
    assert weights[0] == weights[1]


@linux
def test_ranks_save_and_end_if_their_launcher_is_killed(start_two: StartTwo, tmp_path: Path) -> None:
    more = ["train.max_steps=1000000", "train.log_every=1", "train.save_every=1000000", "train.eval_every=1000000"]
    two = start_two(*more, until="step 7/")
    two.send(signal.SIGKILL, "launcher")
    _, _, err = two.end()
    assert "stopped by a signal at step" in err
    assert saved_steps(tmp_path / "run" / "checkpoints") != []


@linux
@pytest.mark.parametrize("whom", ["launcher", "rank"])
def test_a_signal_in_a_validation_stops_all_ranks(whom: str, start_two: StartTwo, tmp_path: Path) -> None:
    """A rank that alone gets the signal tells the other, which would otherwise continue or consider it lost."""
    run, dev = tmp_path / "run", tmp_path / "dev.tsv"
    dev.write_text("a b c d e f g h\th g f e d c b a\n" * 3000)
    more = [f"data.dev={{tsv: {dev}}}", "train.eval_sentences=3000", "train.eval_beam=20", "train.log_every=1"]
    two = start_two(*more, until="step 4/")
    while not (run / "checkpoints" / "step-000004" / "manifest.json").exists():
        os.sched_yield()
    two.send(signal.SIGTERM, whom)
    code, _, err = two.end()
    assert code == ExitCode.TERMINATED
    assert "stopped by a signal at step 4, state saved" in err.splitlines()[-1]
    assert "step 4: dev" not in err


def test_a_data_error_is_reported_once(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 reports it; the others, which wait for it, end on request and need not be killed."""
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "100000")
    (tmp_path / "empty.tsv").write_text("")
    done = train(tmp_path / "run", "--devices=2", f"data.train=[{{tsv: {tmp_path / 'empty.tsv'}}}]")
    assert done.returncode == ExitCode.DATA
    assert sum(line.startswith("mtx: error") for line in done.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_finished_run_and_a_dry_run_end_all_ranks(alone: Path, train: Train, tmp_path: Path) -> None:
    before = (alone / "metrics.jsonl").read_bytes()
    done = train(alone, *WITHOUT_DROPOUT, "--devices=2")
    assert (done.returncode, done.stdout) == (0, f"{alone / 'model'}\n")
    assert (alone / "metrics.jsonl").read_bytes() == before
    planned = train(tmp_path / "run", "--devices=2", "--dry-run")
    assert (planned.returncode, planned.stdout) == (0, "")


def test_checkpoints_hold_the_random_state_of_each_rank(with_dropout: Path) -> None:
    newest = newest_checkpoint(with_dropout / "checkpoints")
    assert newest is not None
    folder, about = newest
    states = load_file(folder / "random.safetensors")
    assert {name for name in states if name.endswith("cpu")} == {"cpu", "rank-1.cpu"}
    assert not states["cpu"].equal(states["rank-1.cpu"])
    assert about["ranks"] == 2
