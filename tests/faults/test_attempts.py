"""Neither damaged SentencePiece models nor made-up weights kill the process that loads them; what would is named."""

from collections import Counter
from pathlib import Path

import pytest

from tests.faults.attempts import outcomes, report
from tests.faults.headers import try_headers
from tests.faults.tokenizers import try_mutants, write_models

CHILD = """
import os, sys
sys.path.insert(0, {root!r})
from tests.faults.attempts import run_attempts
def attempt(number):
    if number == 2:
        os.kill(os.getpid(), 11)
    return "KeyError" if number == 4 else "works"
run_attempts(int(sys.argv[1]), int(sys.argv[2]), attempt)
"""


@pytest.mark.process
def test_no_mutant_kills_or_surprises(tmp_path: Path) -> None:
    found = Counter(try_mutants(write_models(tmp_path), count=200, seed=1))
    assert found.keys() == {"refused", "works"}
    assert min(found.values()) > 5


@pytest.mark.process
def test_no_header_kills_or_surprises_or_takes_memory() -> None:
    found = Counter(try_headers(count=1000, seed=1))
    assert found.keys() == {"refused", "works"}
    assert min(found.values()) > 50


@pytest.mark.process
def test_whoever_kills_its_process_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(Path(__file__).parents[2])
    (tmp_path / "child.py").write_text(CHILD.format(root=root))
    found = outcomes([str(tmp_path / "child.py")], 6)
    assert found == ["works", "works", "died-11", "works", "KeyError", "works"]
    assert report(found) == 1
    assert "2: died-11\n4: KeyError\n" in capsys.readouterr().out
    assert report(["works", "refused"]) == 0


@pytest.mark.process
def test_a_child_that_breaks_by_itself_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="ended by itself, with code 3"):
        outcomes([str(tmp_path / "child.py")], 6)
