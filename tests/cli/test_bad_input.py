"""Each row of the table of bad input: exit code, error line, no traceback, and no file changed but those listed."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.bad_input import ROWS, Row, lay_out

if TYPE_CHECKING:
    from .conftest import Mtx

A_LINE = re.compile(r"mtx: error: .+[.?] [A-Z].*[.?]")
"""WHAT (WHERE). DO THIS."""


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in folder.rglob("*")
        if path.name != "bad.yaml"  # one of these is a gigabyte long
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.id} {' '.join(row.command)[:60]}")
def test_bad_input(row: Row, mtx: "Mtx", finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lay_out(row, folder, finished_run)
    before = digests(folder)
    monkeypatch.chdir(folder)
    answer = mtx(*row.command, stdin=row.stdin)
    after = digests(folder)
    assert answer.code == row.code, answer.err
    assert len(answer.errors) == (row.num_errors if row.code else 0)
    assert all(A_LINE.fullmatch(line) for line in answer.errors), answer.errors
    assert "Traceback" not in answer.err
    for words in row.says:
        assert words in answer.err
    assert row.out is None or answer.out == row.out.decode()
    assert row.num_lines is None or answer.out.count("\n") == row.num_lines
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {*row.writes}


def test_every_id_of_the_table_has_a_row() -> None:
    wanted = {*range(1, 15), *range(20, 32), *range(40, 46), *range(50, 56)}
    assert {int(row.id.removeprefix("B")) for row in ROWS} == wanted
