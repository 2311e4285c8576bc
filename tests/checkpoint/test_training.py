"""Checkpoints: a training is restored exactly; the right checkpoints are loaded, kept, deleted and averaged."""

import errno
import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtx.checkpoint.tensors import load_tensors, load_weights, save_tensors, weights_of
from mtx.checkpoint.training import (
    Evaluation,
    Progress,
    TrainState,
    average_weights,
    checkpoint_bytes,
    checkpoint_folder,
    delete_checkpoints,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
    saved_steps,
    undamaged_steps,
)
from mtx.errors import ExitCode, UserError
from mtx.files import sealed
from mtx.files.sealed import sealed_folder
from tests.faults.calls import failing_call, recorded_calls


def fresh(seed: int, width: int = 3, progress: Progress | None = None) -> TrainState:
    """Build two layers that share their matrix, with an optimizer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, width), nn.Linear(3, width))
    model[1].weight = model[0].weight
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=2)
    return TrainState(model, optimizer, scaler, progress or Progress())


def learn(training: TrainState, num_steps: int) -> None:
    """Take steps that depend on everything: weights, moments, scale and random state."""
    for _ in range(num_steps):
        training.scaler.scale(training.model(torch.randn(4, 3)).square().mean()).backward()
        training.scaler.step(training.optimizer)
        training.scaler.update()
        training.optimizer.zero_grad()
        training.progress.step += 1


def test_a_restored_training_continues_exactly(tmp_path: Path) -> None:
    ordinary = {"loss": {"count": 3, "mean": 0.1, "variance": 0.2}}
    evaluations = [Evaluation(5, 0.1, 1 / 3, 20.0)]
    progress = Progress(0, 3, 1, 14, 1592, 65.5, 2, {"loss": 0.1, "num_tokens": 7}, ordinary, evaluations)
    training = fresh(1, progress=progress)
    learn(training, 3)
    folder = save_checkpoint(tmp_path, training, {"data": "ab"})
    assert newest_checkpoint(tmp_path) == (folder, {"data": "ab", "step": 3})
    learn(training, 4)

    other = fresh(2)
    learn(other, 5)
    load_checkpoint(folder, other)
    assert (other.progress.step, other.scaler.get_scale()) == (3, 128.0)
    learn(other, 4)
    assert other.progress == training.progress
    assert other.scaler.state_dict() == training.scaler.state_dict()
    for name, weight in weights_of(training.model).items():
        assert weights_of(other.model)[name].equal(weight)
    assert other.model[1].weight is other.model[0].weight
    kinds = {path.suffix for path in folder.iterdir()}
    assert kinds == {".safetensors", ".json"}


def test_a_restored_training_does_not_depend_on_the_files(tmp_path: Path) -> None:
    """They can be overwritten, or deleted so that their disk space becomes free."""
    training, other = fresh(1), fresh(2)
    learn(training, 3)
    folder = save_checkpoint(tmp_path, training, {})
    load_checkpoint(folder, other)
    for path in folder.glob("*.safetensors"):
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
    moments = zip(training.optimizer.state.values(), other.optimizer.state.values(), strict=True)
    assert all(one[key].equal(loaded[key]) for one, loaded in moments for key in one)
    assert all(
        one.equal(loaded) for one, loaded in zip(training.model.parameters(), other.model.parameters(), strict=True)
    )


def test_a_checkpoint_before_the_first_step(tmp_path: Path) -> None:
    training = fresh(1)
    folder = save_checkpoint(tmp_path, training, {})
    learn(other := fresh(2), 1)
    load_checkpoint(folder, other)
    learn(training, 2)
    torch.set_rng_state(_state_after_building(1))
    learn(other, 2)
    assert all(weights_of(other.model)[name].equal(weight) for name, weight in weights_of(training.model).items())


def _state_after_building(seed: int) -> Tensor:
    fresh(seed)
    return torch.get_rng_state()


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, fresh(1), {})
    with pytest.raises(UserError, match=r"0\.weight is \(3, 3\), not \(2, 3\)") as caught:
        load_checkpoint(folder, fresh(1, width=2))
    assert caught.value.code == ExitCode.MODEL
    weights = {name: weight.clone() for name, weight in weights_of(fresh(1).model).items()}
    for bad in (float("nan"), float("inf")):
        weights["1.bias"][2] = bad
        with pytest.raises(UserError, match=r"1\.bias holds numbers that are not finite"):
            load_weights(fresh(1).model, weights, tmp_path)


# --- damaged ---


def save_steps(checkpoints: Path, *steps: int) -> None:
    training = fresh(1)
    for training.progress.step in steps:
        save_checkpoint(checkpoints, training, {})


def damage(checkpoints: Path, step: int, name: str = "weights.safetensors") -> None:
    path = checkpoint_folder(checkpoints, step) / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def resealed(folder: Path, name: str, content: bytes) -> Path:
    """Replace a file of `folder` and write a matching manifest, as an attacker could."""
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
    with sealed_folder(folder, {"step": 1}) as new:
        for other, data in (kept | {name: content}).items():
            (new / other).write_bytes(data)
    return folder


def as_file(tensors: dict[str, Tensor], tmp_path: Path) -> bytes:
    save_tensors(tmp_path / "tensors", tensors)
    return (tmp_path / "tensors").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight.exp_avg": None}, "optimizer.safetensors is of another model"),
        ({"9.weight.exp_avg": torch.zeros(3)}, "optimizer.safetensors is of another model"),
        ({"1.bias.exp_avg": torch.zeros(4)}, r"1\.bias\.exp_avg is \(4,\), not \(3,\)"),
        ({"1.bias.step": torch.zeros(3)}, r"1\.bias\.step is \(3,\), not \(\)"),
        ({"1.bias.exp_avg_sq": torch.full((3,), float("nan"))}, "numbers that are not finite"),
        ({"1.bias.exp_avg_sq": torch.zeros(3, dtype=torch.int64)}, "is torch.int64"),
    ],
)
def test_moments_of_another_model_are_refused(change: dict[str, Tensor | None], message: str, tmp_path: Path) -> None:
    training = fresh(1)
    learn(training, 2)
    folder = save_checkpoint(tmp_path, training, {})
    moments = load_tensors(folder / "optimizer.safetensors") | change
    kept = {name: tensor for name, tensor in moments.items() if tensor is not None}
    resealed(folder, "optimizer.safetensors", as_file(kept, tmp_path))
    with pytest.raises(UserError, match=message) as caught:
        load_checkpoint(folder, fresh(2))
    assert caught.value.code == ExitCode.MODEL


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("state.json", b"{}"),
        ("state.json", b"[" * 100_000),
        ("state.json", b'{"progress": {"step": "x"}, "scaler": {}}'),
        ("state.json", b'{"progress": {"step": 1e999}, "scaler": {}}'),
        ("state.json", b'{"progress": {"evaluations": [{"step": 1}]}, "scaler": {}}'),
        ("state.json", b'{"progress": {"class": 1}, "scaler": {}}'),
        ("state.json", b'{"progress": {}, "scaler": {"scale": 1.0}}'),
        ("state.json", b"\xff"),
        ("random.safetensors", {}),
        ("random.safetensors", {"cpu": torch.zeros(5056)}),
        ("random.safetensors", {"cpu": torch.zeros(3, dtype=torch.uint8)}),
    ],
)
def test_an_invalid_state_is_refused(name: str, content: Any, tmp_path: Path) -> None:
    training = fresh(1)
    folder = save_checkpoint(tmp_path, training, {})
    resealed(folder, name, content if isinstance(content, bytes) else as_file(content, tmp_path))
    with pytest.raises(UserError, match=r"random\.safetensors or state\.json: ") as caught:
        load_checkpoint(folder, fresh(2))
    assert caught.value.code == ExitCode.MODEL
    assert "\n" not in str(caught.value)


def test_the_newest_undamaged_checkpoint_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert newest_checkpoint(tmp_path / "missing") is None
    save_steps(tmp_path, 90, 100, 1_000_000)
    (tmp_path / "step-latest").mkdir()
    (tmp_path / "step-000200.tmp-1").mkdir()
    assert saved_steps(tmp_path) == [90, 100, 1_000_000]
    damage(tmp_path, 1_000_000, "optimizer.safetensors")
    (checkpoint_folder(tmp_path, 100) / "random.safetensors").unlink()
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest == (checkpoint_folder(tmp_path, 90), {"step": 90})
    assert caplog.messages == [
        "step-1000000 is damaged (optimizer.safetensors: wrong checksum); skipped",
        "step-000100 is damaged (no random.safetensors); skipped",
    ]
    assert saved_steps(tmp_path) == [90, 100, 1_000_000]
    caplog.clear()
    damage(tmp_path, 90)
    with pytest.raises(UserError, match="every checkpoint is damaged") as caught:
        newest_checkpoint(tmp_path)
    assert caught.value.code == ExitCode.MODEL
    assert "step-000090 is damaged (weights.safetensors: wrong checksum); skipped" in caplog.messages


def test_undamaged_checkpoints_are_never_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_steps(tmp_path, 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", _fail_to_read)
        for look in (newest_checkpoint, lambda checkpoints: undamaged_steps(checkpoints, [1, 2])):
            with pytest.raises(UserError, match="cannot read: Input/output error") as caught:
                look(tmp_path)
            assert caught.value.code == ExitCode.MACHINE
    monkeypatch.setattr(sealed, "FORMAT", 2)
    save_steps(tmp_path, 2)
    monkeypatch.undo()
    for look in (newest_checkpoint, lambda checkpoints: undamaged_steps(checkpoints, [1, 2])):
        with pytest.raises(UserError, match=r"in format 2; this mtx .* reads format 1") as caught:
            look(tmp_path)
        assert caught.value.code == ExitCode.MODEL


def _fail_to_read(*_: object) -> None:
    raise OSError(5, os.strerror(5))


def test_undamaged_checkpoints_are_selected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_steps(tmp_path, 1, 2, 3)
    damage(tmp_path, 2)
    assert undamaged_steps(tmp_path, [1, 2, 3]) == [1, 3]
    assert caplog.messages == ["step-000002 is damaged (weights.safetensors: wrong checksum); skipped"]
    with pytest.raises(UserError, match="every checkpoint is damaged") as caught:
        undamaged_steps(tmp_path, [2])
    assert caught.value.code == ExitCode.MODEL


# --- saved ---


@pytest.mark.parametrize("where", ["weight", "moment"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_saved(where: str, bad: float, tmp_path: Path) -> None:
    training = fresh(1)
    learn(training, 2)
    save_checkpoint(tmp_path, training, {})
    learn(training, 1)
    bias = training.model[1].bias
    tensor = bias if where == "weight" else training.optimizer.state[bias]["exp_avg_sq"]
    with torch.no_grad():
        tensor[1] = bad
    with pytest.raises(UserError, match=r"diverged: 1\.bias.* not finite \(step 3\)") as caught:
        save_checkpoint(tmp_path, training, {})
    assert caught.value.code == ExitCode.DIVERGED
    assert os.listdir(tmp_path) == ["step-000002"]


def test_a_disk_error_at_any_call_leaves_older_checkpoints_intact(tmp_path: Path) -> None:
    save_steps(tmp_path, 1)
    training = fresh(1, progress=Progress(step=2))
    with recorded_calls() as calls:
        save_checkpoint(tmp_path, training, {})
    for number in range(len(calls)):
        for error in (errno.ENOSPC, errno.EIO):
            delete_checkpoints(tmp_path, saved_steps(tmp_path)[1:])
            with failing_call(number, error), pytest.raises(UserError) as caught:
                save_checkpoint(tmp_path, training, {})
            assert caught.value.code == ExitCode.MACHINE
            is_full = str(caught.value).startswith("cannot save step 2: no space left on device (needs 0.0 MB, ")
            assert is_full == (error == errno.ENOSPC)
            assert os.listdir(tmp_path) == ["step-000001"], calls[number]
    newest = newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest[1]["step"] == 1


def test_the_estimated_size_of_a_checkpoint_is_about_right(tmp_path: Path) -> None:
    training = fresh(1)
    training.model.append(nn.Linear(300, 300))
    training.optimizer.add_param_group({"params": training.model[2].parameters()})
    loss = training.model[2](torch.ones(300)).sum() + training.model[0](torch.ones(3)).sum()
    loss.backward()
    training.optimizer.step()
    folder = save_checkpoint(tmp_path, training, {})
    taken = sum(path.stat().st_size for path in folder.iterdir())
    assert checkpoint_bytes(training.model) == pytest.approx(taken, rel=0.02)


def test_a_new_checkpoint_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        (self / "state.json").write_text("{}")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UserError, match=r"state\.json: wrong checksum"):
        save_checkpoint(tmp_path, fresh(1), {})


def test_deleting_leaves_no_partial_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_steps(tmp_path, 1, 2, 30, 1_000_000)
    (tmp_path / "notes").mkdir()
    (tmp_path / "step-000030.old-1").mkdir()
    with recorded_calls() as calls:
        delete_checkpoints(tmp_path, [1, 30, 77])
    assert saved_steps(tmp_path) == [2, 1_000_000]
    assert sorted(os.listdir(tmp_path)) == ["notes", "step-000002", "step-1000000"]
    left: list[str] = []
    warnings: list[str] = []
    for number in range(len(calls)):
        save_steps(tmp_path, 1)
        caplog.clear()
        with failing_call(number, errno.EIO):
            delete_checkpoints(tmp_path, [1])
        assert newest_checkpoint(tmp_path) is not None
        assert 1 not in saved_steps(tmp_path) or undamaged_steps(tmp_path, [1]) == [1]
        left += [str(outgoing) for outgoing in tmp_path.glob("*.old-*")]
        warnings += [record.getMessage() for record in caplog.records]
        delete_checkpoints(tmp_path, [])
        assert not list(tmp_path.glob("*.old-*")), "leftovers are deleted the next time"
    assert warnings
    assert all(any(folder in line for folder in left) for line in warnings)


def test_the_average_is_the_exact_mean(tmp_path: Path) -> None:
    training, draw = fresh(1), random.Random(1)
    values = []
    for step in range(1, 4):
        training.progress.step = step
        # In float32 sums, the small ones would be lost beside the large ones.
        values.append([draw.choice([1e8, -1e8, 1.0]) * draw.random() for _ in range(3)])
        with torch.no_grad():
            training.model[1].bias.copy_(torch.tensor(values[-1]))
        save_checkpoint(tmp_path, training, {})
    mean = average_weights(tmp_path, [1, 2, 3])
    assert mean.keys() == weights_of(training.model).keys()
    rounded = [torch.tensor(row).double().tolist() for row in values]
    expected = torch.tensor([sum(column) / 3 for column in zip(*rounded, strict=True)], dtype=torch.float64).float()
    torch.testing.assert_close(mean["1.bias"], expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(mean["0.weight"], training.model[0].weight.detach(), rtol=1e-7, atol=0)
    assert all(weight.equal(average_weights(tmp_path, [3, 2, 1])[name]) for name, weight in mean.items())
    one = average_weights(tmp_path, [3])
    assert all(weight.equal(weights_of(training.model)[name]) for name, weight in one.items())
    (checkpoint_folder(tmp_path, 1) / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        average_weights(tmp_path, [1, 2, 3])


def test_the_manifest_has_the_metadata_and_the_step(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path, fresh(1, progress=Progress(step=400)), {"threads": 2})
    assert folder.name == "step-000400"
    assert json.loads((folder / "manifest.json").read_text())["about"] == {"threads": 2, "step": 400}
