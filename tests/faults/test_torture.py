"""Short versions of the tortures of `scripts/torture`, and proof that these notice damage."""

import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.faults import __main__ as torture
from tests.faults.damage import damage
from tests.faults.disks import check_full, disk_at, remount
from tests.faults.injections import FAULTS, SystemCall, injected_run, run_under_strace
from tests.faults.kills import killed_run
from tests.faults.outcome import Outcome, SkippedError, Verdict, merged, table
from tests.faults.process import Ended, Start, start_command
from tests.faults.run_files import check_continued, check_translated, stop, translate
from tests.faults.signals import EXIT_CODES, Moment, signalled_run
from tests.faults.starter import Starter
from tests.faults.training import Training, check_finished, check_refused, difference, result, saved_steps, untouched
from tests.faults.two_runs import contents, two_at_once

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are watched in /proc, which only Linux has"),
]


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    training = Training(tmp_path_factory.mktemp("data"), max_steps=12, save_every=4, eval_every=6, log_every=1)
    training.write()
    return training


@pytest.fixture(scope="module")
def whole(training: Training, starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The place of a training that nothing happened to."""
    place = tmp_path_factory.mktemp("whole")
    untouched(training, place, starter.start)
    return place


@pytest.fixture(scope="module")
def expected(whole: Path) -> dict[str, str]:
    return result(whole / "run")


def test_a_command_is_set_up_before_its_process_id_is_known(starter: Starter, tmp_path: Path) -> None:
    """Else a signal sent at once could come before its files are open, or miss its process group."""
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        running = starter.start(Start(["--version"], folder, is_held=True))
        assert all(path.exists() for path in running.start.printed)
        assert os.getpgid(running.pid) == running.pid
        starter.release()
        assert running.wait().code == 0


def test_kills_at_random_moments(
    training: Training, starter: Starter, expected: dict[str, str], tmp_path: Path
) -> None:
    draw = random.Random(1)
    moments = [draw.uniform(0, 2) for _ in range(5)]
    phases, failure = killed_run(training, tmp_path, starter.start, moments, expected)
    assert failure is None, f"after kills {phases} at {moments}"
    assert phases


@pytest.mark.parametrize(
    ("number", "moment", "to_group"),
    [
        (signal.SIGTERM, Moment("in preparation", "", 0.1), False),
        (signal.SIGINT, Moment("in a validation", "checkpoints/step-000006", 0.0), True),
        (signal.SIGUSR1, Moment("between saves", "checkpoints/step-000004", 0.0), False),
    ],
)
def test_signals(
    number: signal.Signals,
    moment: Moment,
    to_group: bool,
    training: Training,
    starter: Starter,
    expected: dict[str, str],
    tmp_path: Path,
) -> None:
    failure = signalled_run(training, tmp_path, starter, number, moment, expected, to_group=to_group, again=None)
    assert failure is None


@pytest.fixture(scope="module")
def calls(training: Training, starter: Starter, tmp_path_factory: pytest.TempPathFactory) -> list[SystemCall]:
    """All calls of the training that change something of its own."""
    place = tmp_path_factory.mktemp("traced")
    try:
        _, calls = run_under_strace(training.start(place), starter)
    except SkippedError as reason:
        pytest.skip(str(reason))
    return [call for call in calls if call.changes(place)]


@pytest.mark.parametrize(
    ("name", "share", "fault"),
    [("write", 0.4, "ENOSPC"), ("fsync", 0.7, "EIO"), ("rename", 0.9, "KILL")],
)
def test_calls_that_fail(
    name: str,
    share: float,
    fault: str,
    calls: list[SystemCall],
    training: Training,
    starter: Starter,
    expected: dict[str, str],
    tmp_path: Path,
) -> None:
    named = [call for call in calls if call.name == name]
    assert fault in FAULTS
    assert injected_run(training, tmp_path, starter, named[int(share * len(named))], fault, expected) is None


def test_a_full_disk(training: Training, starter: Starter, expected: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    try:
        with disk_at(run, "size=400k"):
            ended = starter.start(training.start(tmp_path)).wait()
            assert check_refused(ended, 5) is None
            remount(run, "size=100m")
            assert check_finished(starter.start(training.start(tmp_path)).wait(), run, expected) is None
    except SkippedError as reason:
        pytest.skip(str(reason))


def test_damage(training: Training, starter: Starter, expected: dict[str, str], tmp_path: Path) -> None:
    stop(training, tmp_path / "stopped", starter, after=8)
    newest = max(saved_steps(tmp_path / "stopped" / "run"))
    for file, kind in ((f"checkpoints/step-{newest:06d}/optimizer.safetensors", "flipped"), ("metrics.jsonl", "cut")):
        place = tmp_path / kind
        shutil.copytree(tmp_path / "stopped", place)
        damage(place / "run" / file, kind, random.Random(1))
        ended = starter.start(training.start(place)).wait()
        assert check_continued(ended, place / "run", Path(file), newest, expected) is None


def test_a_damaged_model_is_not_used(whole: Path, starter: Starter, tmp_path: Path) -> None:
    good = translate(whole, starter)
    assert good.code == 0
    assert check_translated(good, good) is None
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "run" / "model" / "model.safetensors", "flipped", random.Random(1))
    damaged = translate(tmp_path, starter)
    assert damaged.code == 4
    assert check_translated(damaged, good) is None


def test_two_runs_in_a_folder(training: Training, starter: Starter, expected: dict[str, str], tmp_path: Path) -> None:
    assert two_at_once(training, tmp_path, starter, expected) is None


def test_the_starter_does_what_the_command_does(
    training: Training, whole: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    ended = start_command(training.start(tmp_path)).wait()
    assert check_finished(ended, tmp_path / "run", expected) is None
    assert {path.replace(f"{tmp_path}", "") for path in contents(tmp_path / "run")} == set(contents(whole / "run"))


# --- that faults are noticed ---


def test_other_weights_are_noticed(whole: Path, expected: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(whole / "run", tmp_path / "run")
    weights = tmp_path / "run" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    done = Ended(0, "", "")
    assert check_finished(done, whole / "run", expected) is None
    failure = check_finished(done, tmp_path / "run", expected)
    assert failure == (Verdict.SILENT, "differs from the untouched run: model/model.safetensors")


def test_lost_log_lines_and_leftovers_are_noticed(whole: Path, expected: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(whole / "run", tmp_path / "run")
    log = tmp_path / "run" / "metrics.jsonl"
    log.write_text(log.read_text() + log.read_text().splitlines()[-1] + "\n")
    (tmp_path / "run" / "checkpoints" / "step-000012.tmp-7").mkdir()
    assert difference(expected, result(tmp_path / "run")) == "metrics.jsonl, step-000012.tmp-7"


ONE_LINE = "mtx: error: WHAT (WHERE). DO THIS.\n"


@pytest.mark.parametrize(
    ("code", "stderr", "verdict"),
    [
        (5, ONE_LINE, None),
        (0, "", None),
        (4, ONE_LINE, Verdict.LOST),
        (5, "", Verdict.LOST),
        (5, ONE_LINE * 2, Verdict.LOST),
        (-9, "", Verdict.LOST),
        (70, ONE_LINE, Verdict.TRACEBACK),
        (0, "--- Logging error ---\nTraceback (most recent call last):\n", Verdict.TRACEBACK),
        (5, "Traceback (most recent call last):\n" + ONE_LINE, Verdict.TRACEBACK),
    ],
)
def test_wrong_ends_are_noticed(code: int, stderr: str, verdict: Verdict | None) -> None:
    failure = check_full(Ended(code, "", stderr))
    assert (failure and failure[0]) == verdict


def test_rows_are_added_up() -> None:
    rows = [Outcome("kill"), Outcome("flood"), Outcome("kill")]
    rows[0].count(Verdict.SURVIVED)
    rows[1].count(Verdict.TRACEBACK, "why")
    rows[2].count(Verdict.LOST, "what")
    assert table(merged(rows)).splitlines() == [
        "| fault | tries | survived | lost | silent | tracebacks |",
        "| --- | --- | --- | --- | --- | --- |",
        "| kill | 2 | 1 | 1 | 0 | 0 |",
        "| flood | 1 | 0 | 0 | 0 | 1 |",
        "| all | 3 | 1 | 1 | 0 | 1 |",
    ]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_exit_code_tells_whether_all_was_survived(
    verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def make(name: str, folder: Path, tries: int, seed: int, jobs: int) -> list[Outcome]:
        if name == "disks":
            raise SkippedError("no disk")
        row = Outcome(f"{name} {tries} {seed} {jobs}")
        row.count(verdict, "moment 7")
        return [row]

    monkeypatch.setattr(torture, "make", make)
    options = ["--only", "kills,disks", "--kills", "3", "--seed", "9", "--jobs", "2", "--json", f"{tmp_path}/rows.json"]
    monkeypatch.setattr(sys, "argv", ["torture", *options])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = 0
    try:
        torture.main()
    except SystemExit as ended:
        code = ended.code
    assert code == (verdict is not Verdict.SURVIVED)
    printed = capsys.readouterr()
    assert "| kills 3 9 2 | 1 |" in printed.out
    assert ("moment 7" in printed.out) == bool(code)
    assert "disks: skipped: no disk" in printed.err
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["tries"] == row[verdict] == 1
    assert any(tmp_path.glob("torture-*")) == bool(code), "what failures left stays, the rest does not"


def test_every_kind_is_found() -> None:
    assert {name: kind.load().__name__ for name, kind in torture.KINDS.items()}
    assert set(EXIT_CODES.values()) == {0, 130, 143}
