"""The worked example in the model's README is what the command prints."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_output_of_the_walk(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "scripts" / "walk.py"), run_name="__main__")
    [shown] = re.findall(
        r"```text\n(text .*?)```", (ROOT / "mtx/model/README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert capsys.readouterr().out == shown
