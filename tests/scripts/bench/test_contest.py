"""Contests: turns alternate, ratios are taken round by round, missing contestants are named."""

import sys
from pathlib import Path

import pytest

from scripts.bench.contest import Contestant, alternate, markdown_table, rates, ratios, spread, started

# Two trainers that own their loops: one of 3 tokens a step, one of 5; each prints to stdout, where answers go.
TRAINER = """
import sys
from scripts.bench.worker import Turnstile
turnstile = Turnstile({"threads": 1})
while True:
    print("a step")
    turnstile.count(int(sys.argv[1]) - 1)
    turnstile.count(1)
    turnstile.close_step()
"""

SERVER = """
import sys
from scripts.bench.worker import claim_stdout, serve
claim_stdout()
print("loading")
done = []
def turn(request):
    done.append(request["n"])
    return {"sentences": sum(done), "seconds": float(sys.argv[1]), "order": len(done)}
serve(turn, {})
"""


def contestant(folder: Path, name: str, script: str, *arguments: str) -> Contestant:
    path = folder / f"{name}.py"
    path.write_text(script)
    return Contestant(name, (sys.executable, str(path), *arguments))


@pytest.mark.process
def test_trainers_work_in_turns_and_only_counted_steps_count(tmp_path: Path) -> None:
    contestants = [contestant(tmp_path, "three", TRAINER, "3"), contestant(tmp_path, "five", TRAINER, "5")]
    with started(contestants, tmp_path) as field:
        assert [worker.about for worker in field.workers] == [{"threads": 1}, {"threads": 1}]
        alternate(field.workers, {"steps": 1}, rounds=1)
        turns = alternate(field.workers, {"steps": 4}, rounds=2)
    assert [[turn["tokens"] for turn in turns[name]] for name in ("three", "five")] == [[12, 12], [20, 20]]
    assert all(turn["steps"] == 4 and turn["seconds"] > 0 and turn["peak_rss_mib"] > 1 for turn in turns["five"])
    assert (tmp_path / "three.log").read_text().count("a step") == 1 + 1 + 2 * 4
    assert all(worker.process.returncode == 0 for worker in field.workers)


@pytest.mark.process
def test_ratios_are_taken_round_by_round(tmp_path: Path) -> None:
    contestants = [contestant(tmp_path, name, SERVER, seconds) for name, seconds in (("slow", "4"), ("fast", "2"))]
    with started(contestants, tmp_path) as field:
        turns = alternate(field.workers, {"n": 4}, rounds=3)
    slow, fast = rates(turns["slow"], "sentences"), rates(turns["fast"], "sentences")
    assert (slow, fast) == ([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    assert ratios(fast, slow) == [2.0, 2.0, 2.0]
    assert spread([3.0, 1.0, 2.5], ".1f") == "2.5 (1.0..3.0)"
    assert markdown_table([{"a": "1", "b": "2"}]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


@pytest.mark.process
def test_who_lacks_a_python_or_a_library_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contestants = [
        Contestant("nowhere", (str(tmp_path / "python"), "x.py")),
        contestant(tmp_path, "unequipped", "import no_such_library"),
        contestant(tmp_path, "here", SERVER, "1"),
    ]
    with started(contestants, tmp_path) as field:
        assert [worker.name for worker in field.workers] == ["here"]
    assert field.left_out_lines() == [
        f"left out: nowhere: no Python at {tmp_path / 'python'}",
        "left out: unequipped: ModuleNotFoundError: No module named 'no_such_library'",
    ]
    assert set(field.left_out_lines()) <= set(capsys.readouterr().err.splitlines())


@pytest.mark.process
def test_a_failure_is_none_to_be_left_out(tmp_path: Path) -> None:
    broken = contestant(tmp_path, "broken", "raise ValueError('no')")
    with pytest.raises(RuntimeError, match=r"(?s)broken did not get ready:.*ValueError: no"):
        started([broken], tmp_path).__enter__()
    dying = SERVER.replace("done.append", "raise ValueError('later')\n    done.append")
    match = "(?s)dying ended in the middle of the contest:.*ValueError: later"
    with (
        started([contestant(tmp_path, "dying", dying, "1")], tmp_path) as field,
        pytest.raises(RuntimeError, match=match),
    ):
        alternate(field.workers, {"n": 1}, rounds=1)
