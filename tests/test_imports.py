"""Imports point one way, and what needs no torch does not wait for it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mtx

PACKAGE = Path(mtx.__file__).parent

LAYERS = [
    {"cli"},
    {"init"},
    {"train"},
    {"judge"},
    {"decode"},
    {"checkpoint", "distributed"},
    {"data"},
    {"demo", "text", "model"},
    {"files", "pages"},
    {"system"},
    {"config"},
    {"errors"},
]
"""Each part may import those of the layers below its own."""

WITHOUT_TORCH = [
    "mtx.cli",
    "mtx.config.load",
    "mtx.config.explain",
    "mtx.text.tokenizer",
    "mtx.text.train_tokenizer",
    "mtx.data.sources.text",
    "mtx.data.sources.read",
    "mtx.data.prepared.prepare",
    "mtx.init.corpus_stats",
    "mtx.data.sources.guess",
    "mtx.demo",
    "mtx.files.sealed",
    "mtx.system.parallel",
    "mtx.judge.judgement",
    "mtx.train.curves",
]


def imports_of(path: Path) -> Iterator[str]:
    """The modules of mtx that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"mtx.{alias.name}" for alias in node.names] if node.module == "mtx" else [str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("mtx.") and name != "mtx.__version__")


def layer_of(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def test_imports_point_down() -> None:
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for module in imports_of(path):
            other = module.split(".")[1]
            is_entry = path.name == "__main__.py" or part == "__init__"
            if not is_entry and other != part and layer_of(other) <= layer_of(part):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong, "\n".join(wrong)
    assert list(imports_of(PACKAGE / "__init__.py")) == []
    assert list(imports_of(PACKAGE / "__main__.py")) == ["mtx.cli"]


def test_the_search_knows_no_other_part() -> None:
    assert list(imports_of(PACKAGE / "decode" / "search.py")) == ["mtx.config.decoding", "mtx.decode.topk"]
    assert list(imports_of(PACKAGE / "decode" / "topk.py")) == []


def run_without(forbidden: list[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python where the modules `forbidden` can't be imported."""
    header = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in forbidden)
    return subprocess.run([sys.executable, "-c", header + code], capture_output=True, text=True, check=False)


@pytest.mark.process
def test_parts_without_torch() -> None:
    code = "".join(f"import {module}\n" for module in WITHOUT_TORCH)
    done = run_without(["torch", "datasets", "sentencepiece", "sacrebleu", "safetensors"], code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "returncode", "output"),
    [
        (["--help"], 0, "Train your own translator"),
        (["train", "--help"], 0, "--run-dir"),
        (["train", "--config", "missing.yaml"], 2, "mtx: error: "),
        (["init", "--help"], 0, "SOURCE"),
        (["init", "missing.en", "missing.de"], 3, "cannot read missing.en"),
        (["train", "train.lrr=1"], 2, "train.lr"),
        (["plot", "missing"], 4, "no such folder"),
        (["config", "show", "--doc", "train.lr"], 0, "train.lr"),
    ],
)
def test_help_and_config_errors_are_instant(arguments: list[str], returncode: int, output: str) -> None:
    heavy = ["torch", "datasets", "sentencepiece", "sacrebleu", "numpy"]
    done = run_without(heavy, f"sys.argv = {['mtx', *arguments]}\nfrom mtx.cli import main\nmain()")
    assert done.returncode == returncode, done.stderr
    assert output in done.stdout + done.stderr
