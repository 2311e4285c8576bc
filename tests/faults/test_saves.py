"""Every fault that a disk can have, at every call of one save: what was whole before is found again, or the new one."""

import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mtx.checkpoint.model_folder import load_model
from mtx.checkpoint.training import delete_checkpoints, newest_checkpoint, save_checkpoint
from mtx.errors import ExitCode, UserError
from mtx.files.atomic import write_file
from tests.faults.calls import Call, recorded_calls
from tests.faults.damage import damaged_loads
from tests.faults.power import State, build_state, read_state, states_after
from tests.faults.save import FAULTS, NEW, OLD, a_training, injected_saves, why_unavailable

# --- system calls ---


@pytest.mark.process
@pytest.mark.parametrize("error", FAULTS)
def test_a_save_that_is_killed_or_fails_leaves_the_old_checkpoint_or_the_new(error: str) -> None:
    if why := why_unavailable():
        pytest.skip(why)
    outcomes = list(injected_saves(error, every=7))
    assert len(outcomes) >= 6
    for outcome in outcomes:
        assert outcome.is_whole, outcome
        if error == "KILL":
            assert outcome.code == -signal.SIGKILL, outcome
        else:
            is_saved = outcome.code == ExitCode.DONE and outcome.found == NEW  # the old one could not be deleted
            assert is_saved or outcome.code == ExitCode.MACHINE, outcome
    assert {outcome.found for outcome in outcomes} == {OLD, NEW}


# --- damage ---


@pytest.mark.parametrize(
    ("folder", "load"),
    [("checkpoints", lambda folder: newest_checkpoint(folder.parent)), ("model", load_model)],
)
def test_no_damage_goes_unnoticed(folder: str, load: Callable[[Path], object]) -> None:
    made = Path(__file__).parents[1] / "checkpoint" / "format-1" / folder
    loads = list(damaged_loads(made if folder == "model" else next(made.iterdir()), load, tries=4))
    assert len(loads) == 5 * 5 * 4
    for found in loads:
        assert isinstance(found.error, UserError), found
        assert found.error.code == ExitCode.MODEL, found


# --- loss of power ---


def steps_after_power_loss(root: Path, before: State, calls: Sequence[Call]) -> list[set[int]]:
    """After so many of `calls`, the step that training goes on from in each state left by a loss of power; 0: none."""
    found: list[set[int]] = [set() for _ in range(len(calls) + 1)]
    step_in: dict[frozenset[tuple[str, bytes | None]], int] = {}
    for number, state in states_after(root, before, calls):
        key = frozenset(state.items())
        if key not in step_in:
            step_in[key] = step_of(root.with_name("scratch"), state)
        found[number].add(step_in[key])
    return found


def step_of(scratch: Path, state: State) -> int:
    build_state(scratch, state)
    try:
        newest = newest_checkpoint(scratch / "checkpoints")
    except UserError:  # every one is damaged
        newest = None
    shutil.rmtree(scratch)
    return newest[1]["step"] if newest else 0


def test_a_loss_of_power_leaves_the_old_checkpoint_or_the_new(tmp_path: Path) -> None:
    root = tmp_path / "run"
    save_checkpoint(root / "checkpoints", a_training(1), {})
    before = read_state(root)
    with recorded_calls() as calls:
        save_checkpoint(root / "checkpoints", a_training(2), {})
        num_calls = len(calls)
        delete_checkpoints(root / "checkpoints", [1])
    found = steps_after_power_loss(root, before, calls)
    assert set().union(*found[:num_calls]) == {1, 2}
    assert 0 not in set().union(*found)
    assert set().union(*found[num_calls:]) == {2}  # it was said to be saved
    assert len(found) > num_calls + 5


def test_the_first_checkpoint_is_there_once_it_is_saved_and_every_flush_is_needed(tmp_path: Path) -> None:
    root = tmp_path / "run"
    root.mkdir()
    with recorded_calls() as calls:
        save_checkpoint(root / "checkpoints", a_training(1), {})
    assert steps_after_power_loss(root, {}, calls)[-1] == {1}
    flushes = [number for number, call in enumerate(calls) if call.name == "fsync"]
    assert len(flushes) == 8  # the folder of checkpoints, four files, the manifest, their folder and its name
    for number in flushes:
        without = calls[:number] + calls[number + 1 :]
        assert 0 in steps_after_power_loss(root, {}, without)[-1], calls[number]


def test_a_loss_of_power_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    before = read_state(tmp_path)
    with recorded_calls() as calls:
        write_file(tmp_path / "file", b"new")
    states = list(states_after(tmp_path, before, calls))
    assert {state["file"] for _, state in states} == {b"old", b"new"}
    assert {state["file"] for number, state in states if number == len(calls)} == {b"new"}
