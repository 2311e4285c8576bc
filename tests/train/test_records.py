"""Records of runs: the last one of each step, whatever a kill or a user left in the file."""

import json
import math
import os
from pathlib import Path

import pytest

from mtx.errors import ExitCode, UserError
from mtx.train.records import UPDATE, VALIDATION, read_runs

UPDATES = [{"event": UPDATE, "step": step, "nll": 9 / step} for step in (1, 2, 3)]


def write_run(folder: Path, *records: object, end: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records) + end)
    return folder


def test_the_last_record_of_a_step_counts_and_torn_lines_do_not(tmp_path: Path) -> None:
    again = {"event": UPDATE, "step": 2, "nll": 0.5}
    foreign = [
        {"event": UPDATE},
        {"event": UPDATE, "step": "7"},
        {"event": UPDATE, "step": 0},
        {"event": "pause", "step": 9},
        {"event": [UPDATE], "step": 9},
        {"event": {}, "step": 9},
        [],
        3,
    ]
    run = write_run(tmp_path / "a", *reversed(UPDATES), *foreign, again, end='{"event": "update", "step": 4, "nl')
    (read,) = read_runs([run], tmp_path)
    assert read.curve(UPDATE, "nll") == ([1, 2, 3], [9.0, 0.5, 3.0])
    assert read.curve(VALIDATION, "bleu") == ([], [])


def test_only_finite_numbers_count(tmp_path: Path) -> None:
    lines = ["NaN", "Infinity", "-Infinity", "1e999", "1e31", "1" + 400 * "0", "null", '"3"', "true", "[1]"]
    text = "".join(f'{{"event": "update", "step": {step}, "lr": {value}}}\n' for step, value in enumerate(lines, 1))
    run = write_run(tmp_path / "a", end=text + '{"event": "update", "step": 11, "lr": 2}')
    steps, values = read_runs([run], tmp_path)[0].curve(UPDATE, "lr")
    assert steps == list(range(1, 12))
    assert values[10] == 2
    assert all(map(math.isnan, values[:10]))


def test_names_are_as_short_as_they_are_unique(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/run", "b/run", "b/other", "my\nrun")]
    runs = [write_run(path, *UPDATES) for path in paths]
    model = runs[0] / "model"
    model.mkdir()
    (model / "manifest.json").write_text("{}")
    read = read_runs([*runs, model, runs[1]], tmp_path)
    assert [run.name for run in read] == ["a/run", "b/run", "other", r"my\nrun"]


def test_the_newest_run_is_the_default(tmp_path: Path) -> None:
    for age, name in enumerate("abc"):
        os.utime(write_run(tmp_path / name, *UPDATES) / "metrics.jsonl", (1000 - age, 1000 - age))
    assert [run.name for run in read_runs([], tmp_path)] == ["a"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "no such folder"),
        ("file", "not a folder"),
        ("empty", r"not a run folder: no metrics\.jsonl"),
        ("new", r"this run has no metrics\.jsonl yet"),
        ("begun", r"no records in metrics\.jsonl"),
        (None, "no run with records"),
    ],
)
def test_folders_without_records_are_refused(name: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("empty", "new"):
        (tmp_path / folder).mkdir()
    (tmp_path / "new" / "config.yaml").touch()
    write_run(tmp_path / "begun", end='{"event"')
    given = [tmp_path / name] if name else []
    with pytest.raises(UserError, match=said) as caught:
        read_runs(given, tmp_path / "runs")
    assert caught.value.code == ExitCode.MODEL
