"""A run goes on wherever it, its config and its data are: paths are free while the bytes behind them stay the same."""

import gzip
import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtx.checkpoint.model_folder import load_model
from mtx.config.load import load_config

from .conftest import write_corpus

if TYPE_CHECKING:
    from .conftest import Answer, Mtx


@pytest.fixture
def project(mtx: "Mtx", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config, its data and a run that has done 2 of 12 steps; the current folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_corpus(folder)
    monkeypatch.chdir(folder)
    assert mtx("train", "--config", "my.yaml", "train.max_steps=2").code == 0
    return folder


def train(mtx: "Mtx", *more: str) -> "Answer":
    return mtx("train", "--config", "my.yaml", "train.max_steps=4", *more)


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["moved/deeper", "project2"])
def test_a_project_moved_as_a_whole_goes_on(
    mtx: "Mtx", project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    before = mtx("evaluate", "--model", "runs/my").out.split(",")[:2]
    moved = tmp_path / place
    moved.parent.mkdir(exist_ok=True)
    project.rename(moved)
    monkeypatch.chdir(moved)
    answer = mtx("evaluate", "--model", "runs/my")
    assert (answer.code, answer.out.split(",")[:2]) == (0, before), answer.err
    assert f"the test set of the run was moved; found {moved / 'test.en'} and {moved / 'test.de'}" in answer.err
    answer = train(mtx)
    assert (answer.code, "resuming from step 2" in answer.err) == (0, True), answer.err
    assert mtx("evaluate", "--model", "runs/my").err == ""  # the run has recorded the new paths
    (moved / "test.de").unlink()
    answer = mtx("evaluate", "--model", "runs/my")
    assert (answer.code, len(answer.errors)) == (3, 1)
    assert "test.de is missing" in answer.err
    assert "Give --src FILE and --ref FILE" in answer.err


def test_data_may_be_moved_and_renamed(mtx: "Mtx", project: Path) -> None:
    (project / "data").mkdir()
    for name in ("train", "dev"):
        for language in ("en", "de"):
            (project / f"{name}.{language}").rename(project / "data" / f"my {name}.{language}.txt")
    config = project / "my.yaml"
    text = config.read_text()
    for name in ("train", "dev"):
        text = text.replace(
            f"src: {name}.en, tgt: {name}.de", f"src: data/my {name}.en.txt, tgt: data/my {name}.de.txt"
        )
    config.write_text(text)
    answer = train(mtx)
    assert (answer.code, "resuming from step 2" in answer.err) == (0, True), answer.err
    assert "not bit-equal" not in answer.err
    # Other bytes at another path are another config, at the same path other data.
    (project / "data" / "my train.de.txt").write_bytes((project / "data" / "my train.de.txt").read_bytes() + b"\n")
    (project / "data" / "my train.en.txt").write_bytes((project / "data" / "my train.en.txt").read_bytes() + b"\n")
    assert train(mtx, "train.max_steps=6").code == 3
    (project / "data" / "my train.de.txt").rename(project / "data" / "new.de")
    config.write_text(text.replace("data/my train.de.txt", "data/new.de"))
    recorded = (project / "runs" / "my" / "config.yaml").read_bytes()
    answer = train(mtx, "train.max_steps=6")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert f"data.train[0].tgt: {project}/data/my train.de.txt -> {project}/data/new.de" in answer.err
    assert (project / "runs" / "my" / "config.yaml").read_bytes() == recorded
    assert train(mtx, "train.max_steps=6", "--allow-data-change").code == 0


def test_another_dev_set_is_another_config(mtx: "Mtx", project: Path) -> None:
    for language in ("en", "de"):
        shutil.copy(project / f"dev.{language}", project / f"same.{language}")
    assert train(mtx, "data.dev={src: same.en, tgt: same.de}").code == 0
    answer = train(mtx, "data.dev={src: test.en, tgt: test.de}", "train.max_steps=6")
    assert (answer.code, len(answer.errors)) == (2, 2)
    assert f"data.dev.src: {project}/same.en -> {project}/test.en" in answer.err


def test_a_model_alone_still_translates(
    mtx: "Mtx", project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project / "runs" / "my" / "model", tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(project)
    assert mtx("translate", "-m", tmp_path / "copied", "The dog sees a cat.").code == 0
    answer = mtx("evaluate", "-m", tmp_path / "copied")
    assert (answer.code, "Give --src FILE and --ref FILE" in answer.err) == (2, True)


def test_what_training_does_not_read_may_change(mtx: "Mtx", project: Path) -> None:
    other = "data.test={src: dev.en, tgt: dev.de}"
    answer = train(mtx, other, "decode.beam_size=2", "train.eval_beam=3", "train.eval_sentences=3")
    assert (answer.code, "resuming from step 2" in answer.err) == (0, True), answer.err
    assert "train.eval_beam: 1 -> 3: earlier dev scores can't be compared with later ones" in answer.err
    assert load_model(project / "runs" / "my" / "model").generation.decode.beam_size == 2
    assert json.loads(mtx("evaluate", "--json").out)["num_sentences"] == 14
    assert train(mtx, "train.lr=1").code == 2


def test_a_finished_run_records_its_new_test_set_and_search(mtx: "Mtx", project: Path) -> None:
    run = project / "runs" / "my"
    same = ["train", "--config", "my.yaml", "train.max_steps=2"]
    before = digests(run)
    assert mtx(*same).out == f"{run}/model\n"
    assert digests(run) == before
    other = [*same, "data.test={src: dev.en, tgt: dev.de}", "decode.beam_size=2"]
    assert mtx(*other, "--dry-run").code == 0
    assert digests(run) == before
    answer = mtx(*other)
    assert (answer.code, answer.out) == (0, f"{run}/model\n")
    assert "decode.beam_size: 5 -> 2" in answer.err
    after = digests(run)
    changed = {Path(path).name for path in before if before[path] != after[path]} - {".lock"}
    assert changed == {"config.yaml", "generation_config.json", "manifest.json"}
    assert load_model(run / "model").generation.decode.beam_size == 2
    assert load_config(run / "config.yaml", []).decode.beam_size == 2
    assert mtx(*other).code == 0
    assert digests(run) == after
    assert json.loads(mtx("evaluate", "--json").out)["num_sentences"] == 14


def test_the_test_set_may_not_change_where_training_keeps_clear_of_it(mtx: "Mtx", project: Path) -> None:
    held_out = ["clean.held_out=pair", "--run-dir", "clear"]
    assert mtx("train", "--config", "my.yaml", "train.max_steps=2", *held_out).code == 0
    with gzip.open(project / "other.gz", "wb") as file:
        file.write(b"The dog sees a bird.\n")
    answer = train(mtx, *held_out, "data.test={src: other.gz, tgt: other.gz}")
    assert (answer.code, "data.test.src: " in answer.err) == (2, True), answer.err
    for language in ("en", "de"):
        (project / f"test.{language}").rename(project / f"moved.{language}")
    assert train(mtx, *held_out, "data.test={src: moved.en, tgt: moved.de}").code == 0
