"""The gate passes the code of this repository, and stops code that executes data and docstrings that are riddles."""

import subprocess
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

GATE = Path(__file__).parents[2] / "scripts" / "gate"


def gate(*folders: Path) -> tuple[int, str]:
    done = subprocess.run([GATE, *folders], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_our_own_code_passes_and_is_checked_with_all_else() -> None:
    assert gate() == (0, "")
    assert "\nscripts/gate\n" in (GATE.parent / "check").read_text()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "    import os, marshal as m",
        "from shelve import open",
        "import dill",
        "import cloudpickle as cp",
        "from joblib.numpy_pickle import load",
        "x = torch.load(path)",
        "f = torch.load",
        "from torch import load",
        "yaml.load(text, Loader)",
        "yaml.unsafe_load(text)",
        "yaml.full_load(text)",
        "yaml.load_all(text)",
        "YAML(typ='unsafe')",
        "x = eval(text)",
        "exec (text)",
        "__import__(name)",
        "subprocess.run(x, shell=True)",
        "os.system(x)",
        "os.popen(x)",
        "np.load(path, allow_pickle=True)",
        "load_dataset(x, trust_remote_code=True)",
        "load(x, weights_only=False)",
        "torch.jit.load(path)",
        "torch.hub.load(x)",
        "torch.serialization.load(path)",
        "import torch as t",
        "from torch import (load)",
        "from torch.serialization import load",
        "from yaml import load",
        "import yaml as y",
        "yaml.Loader(text)",
        "Loader=yaml.UnsafeLoader",
        "pandas.read_pickle(path)",
        "import _pickle",
        "import builtins",
        "import runpy",
        "from os import system",
        "subprocess.getoutput(x)",
    ],
)
def test_each_way_to_run_data_is_stopped(line: str, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(f"a = 1\n{line}\n")
    code, found = gate(tmp_path)
    assert code == 1
    assert f"planted.py:2:{line}" in found


def test_a_folder_that_is_not_there_is_no_proof(tmp_path: Path) -> None:
    assert gate(tmp_path / "nowhere")[0] == 2


@pytest.mark.parametrize(
    "line",
    [
        "model.eval()",
        "np.load(path, allow_pickle=False)",
        "# No pickle anywhere.",
        "retrieval(x); my_exec(x)",
        "json.load(file)",
        "torch.loadtxt",
        "importlib.import_module",
        "from mtx.picklejar import x",
    ],
)
def test_what_is_alike_passes(line: str, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(f"{line}\n")
    assert gate(tmp_path) == (0, "")


@pytest.mark.parametrize("words", ["What", "Which", "How", "Of", "Those", "So many", "So few"])
def test_a_docstring_that_is_a_riddle_is_stopped(words: str, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(f'LIMIT = 3\n"""{words} pairs there are."""\n')
    assert gate(tmp_path) == (1, f"{tmp_path}/planted.py:2: {words} pairs there are.\n")


def test_docstrings_are_found_wherever_they_may_stand(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(
        textwrap.dedent(
            '''
            """
            How to begin.
            """
            class Thing:
                """Of a thing."""
                size: int
                """Which size."""
                depth: int  # How deep
                async def work(self):
                    """Those who work.

                    More.
                    """
            LEAST = [  # Of what lies inside, a comment is free
                1,  # Which also holds here
            ]  # What is least
            if True:
                LIMIT = 1
                """What is allowed."""
            else:
                def other():
                    "So few."
            '''
        )
    )
    code, found = gate(tmp_path)
    assert code == 1
    lines = [line.removeprefix(f"{tmp_path}/planted.py:") for line in found.splitlines()]
    firsts = [
        "How to begin.",
        "Of a thing.",
        "Which size.",
        "How deep",
        "Those who work.",
        "What is least",
        "What is allowed.",
        "So few.",
    ]
    assert sorted(lines) == sorted(
        f"{number}: {first}" for number, first in zip((2, 6, 8, 9, 11, 17, 20, 23), firsts, strict=True)
    )


def test_other_strings_may_begin_as_they_like(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(
        textwrap.dedent(
            '''
            """Whatever, Offset and Howling are other words."""
            QUESTION = "What is it?"
            def work(text="Which?"):
                """Return what was asked.

                What follows the first line is free.
                """
                work("How?")  # What it asks is free, too
                "Of no use, but no docstring."
                return f"""Those {text}"""
            '''
        )
    )
    assert gate(tmp_path) == (0, "")
