"""Several ranks train like one: same steps, same scores, also if stopped or killed anywhere (gloo, on a CPU)."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mtx.checkpoint.training import newest_checkpoint, saved_steps
from mtx.errors import ExitCode
from mtx.train.run_folder import read_metrics

pytestmark = pytest.mark.process

STEPS = 50
WITHOUT_DROPOUT = ["model.dropout=0", "train.lr=1e-3", f"train.max_steps={STEPS}", "train.log_every=1"]
LIKE_ONE = {"rel": 1e-6, "abs": 1e-9}

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for the ranks in /proc")
Train = Callable[..., subprocess.CompletedProcess[str]]


def command(config_path: Path, run: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "mtx", "train", "--config", str(config_path), "--run-dir", str(run), *more]


@pytest.fixture
def train(config_path: Path) -> Train:
    """Runs `mtx train` to its end."""

    def train(run: Path, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(config_path, run, *more), capture_output=True, text=True, check=False)

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
def alone(config_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run(command(config_path, run, *WITHOUT_DROPOUT), capture_output=True, check=True)
    assert len(records(run, "update")) == STEPS
    return run


@pytest.mark.parametrize(("count", "parallel"), [(2, "ddp"), (4, "ddp"), (2, "fsdp")])
def test_several_ranks_train_like_one(count: int, parallel: str, alone: Path, train: Train, tmp_path: Path) -> None:
    done = train(tmp_path / "run", *WITHOUT_DROPOUT, f"--devices={count}", f"train.parallel={parallel}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'model'}\n", "one line, from one rank"
    assert done.stderr.count("\nstep 7/") == 1
    assert_alike(tmp_path / "run", alone)


def test_a_run_continues_with_another_number_of_ranks(alone: Path, train: Train, tmp_path: Path) -> None:
    """Two ranks, then one, then two with sharded weights see the batches in the same order as one."""
    run = tmp_path / "run"
    ways = [(11, "--devices=2"), (29, ""), (STEPS, "--devices=2 train.parallel=fsdp")]
    for steps, way in ways:
        done = train(run, *WITHOUT_DROPOUT, f"train.max_steps={steps}", *way.split())
        assert done.returncode == 0, done.stderr
    assert "ranks was 1, is 2" in done.stderr
    losses = [[record["loss"] for record in records(each, "update")] for each in (run, alone)]
    assert losses[0] == pytest.approx(losses[1], **LIKE_ONE)


@contextmanager
def two_ranks(
    config_path: Path, run: Path, *more: str, until: str
) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A run of two ranks that has logged a line starting with `until`, and the process ids of ranks 0 and 1."""
    line = command(config_path, run, "--devices=2", *more)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith(until) for line in process.stderr)
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        children = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        ranks = {_variable(pid, "RANK"): pid for pid in children}
        try:
            yield process, [ranks["0"], ranks["1"]]
        finally:
            process.kill()


def _variable(pid: int, name: str) -> str | None:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((v.decode().split("=")[1] for v in variables if v.startswith(f"{name}=".encode())), None)


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
    rank: int, config_path: Path, alone: Path, train: Train, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with two_ranks(config_path, run, *WITHOUT_DROPOUT, until="step 20/") as (process, ranks):
        os.kill(ranks[rank], signal.SIGKILL)
        out, err = process.communicate(timeout=900)
    assert (process.returncode, out) == (ExitCode.PEER_LOST, "")
    assert err.splitlines()[-1].startswith(f"mtx: error: rank {rank} was killed by SIGKILL. Run the same command")
    assert err.count("mtx: error") == 1
    assert all(map(has_ended, ranks))
    assert not (run / "model").exists()
    if rank == 0:  # which held the lock
        done = train(run, *WITHOUT_DROPOUT, "--devices=2")
        assert done.returncode == 0, done.stderr
        assert_alike(run, alone)


@pytest.fixture(scope="module")
def with_dropout(config_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of two ranks."""
    run = tmp_path_factory.mktemp("two") / "run"
    subprocess.run(command(config_path, run, "--devices=2", "train.max_steps=40"), capture_output=True, check=True)
    return run


@linux
@pytest.mark.parametrize(
    ("number", "code", "whom"),
    [(signal.SIGINT, 130, "launcher"), (signal.SIGTERM, 143, "rank")],
)
def test_a_signal_makes_all_ranks_save_and_the_resumed_run_is_the_same(
    number: signal.Signals, code: int, whom: str, config_path: Path, with_dropout: Path, train: Train, tmp_path: Path
) -> None:
    """Each rank has its own random state for dropout, which is restored."""
    run, more = tmp_path / "run", ["train.max_steps=40", "train.log_every=1"]
    with two_ranks(config_path, run, *more, until="step 7/") as (process, ranks):
        os.kill(process.pid if whom == "launcher" else ranks[1], number)
        out, err = process.communicate(timeout=900)
    assert (process.returncode, out) == (code, "")
    assert err.count("mtx: error") == 1
    assert "stopped by a signal at step" in err.splitlines()[-1]
    assert all(map(has_ended, ranks))
    assert saved_steps(run / "checkpoints")[-1] >= 7
    assert train(run, *more, "--devices=2").returncode == 0
    weights = [(each / "model" / "model.safetensors").read_bytes() for each in (run, with_dropout)]
    assert weights[0] == weights[1]


@linux
def test_ranks_save_and_end_if_their_launcher_is_killed(config_path: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    more = ["train.max_steps=1000000", "train.log_every=1", "train.save_every=1000000", "train.eval_every=1000000"]
    with two_ranks(config_path, run, *more, until="step 7/") as (process, ranks):
        process.kill()
        _, err = process.communicate(timeout=900)  # until the ranks have ended
    assert "stopped by a signal at step" in err
    assert saved_steps(run / "checkpoints") != []
    assert all(map(has_ended, ranks))


@linux
@pytest.mark.parametrize("whom", ["launcher", "rank"])
def test_a_signal_in_a_validation_stops_all_ranks(whom: str, config_path: Path, tmp_path: Path) -> None:
    """A rank that alone gets the signal tells the other, which would otherwise continue or consider it lost."""
    run, dev = tmp_path / "run", tmp_path / "dev.tsv"
    dev.write_text("a b c d e f g h\th g f e d c b a\n" * 3000)
    more = [f"data.dev={{tsv: {dev}}}", "train.eval_sentences=3000", "train.eval_beam=20", "train.log_every=1"]
    with two_ranks(config_path, run, *more, until="step 4/") as (process, ranks):
        while not (run / "checkpoints" / "step-000004" / "manifest.json").exists():
            os.sched_yield()
        os.kill(process.pid if whom == "launcher" else ranks[1], signal.SIGTERM)
        _, err = process.communicate(timeout=900)
    assert process.returncode == ExitCode.TERMINATED
    assert "stopped by a signal at step 4, state saved" in err.splitlines()[-1]
    assert "step 4: dev" not in err
    assert all(map(has_ended, ranks))


def test_a_data_error_is_reported_once(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 reports it; the others, which wait for it, end on request and need not be killed."""
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "100000")
    (tmp_path / "empty.tsv").write_text("")
    done = train(tmp_path / "run", "--devices=2", f"data.train=[{{tsv: {tmp_path / 'empty.tsv'}}}]")
    assert done.returncode == ExitCode.DATA
    assert [line[:10] for line in done.stderr.splitlines()] == ["mtx: error"]
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
