"""`mtx plot` on the command line."""

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Mtx


def test_the_newest_run_is_drawn_as_a_page(
    finished_run: Path, mtx: Mtx, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(finished_run.parents[1])
    answer = mtx("plot", "-o", tmp_path / "curves.HTML")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"{tmp_path / 'curves.HTML'}\n"
    page = (tmp_path / "curves.HTML").read_text()
    assert "<h1>Training curves</h1>" in page
    shutil.copytree(finished_run, tmp_path / "b" / finished_run.name)
    answer = mtx("plot", finished_run / "model", tmp_path / "b" / finished_run.name, "-o", tmp_path / "two.png")
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--output", "curves.svg"], 2, "ends neither in .html nor in .png"),
        (["--output", "-"], 2, "ends neither in .html nor in .png"),
        (["missing"], 4, "no such folder (missing)"),
        ([], 4, "no run with records (runs)"),
    ],
)
def test_errors_leave_no_file(
    arguments: list[str], code: int, said: str, mtx: Mtx, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = mtx("plot", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert said in answer.err
    assert not list(tmp_path.iterdir())


def test_a_model_folder_stays_as_it_is(finished_run: Path, mtx: Mtx) -> None:
    answer = mtx("plot", finished_run, "-o", finished_run / "model" / "curves.png")
    assert (answer.code, answer.out) == (2, "")
    assert "into a model folder" in answer.err
