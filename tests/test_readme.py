"""The README can be believed: its commands run, in its order, and the files that it names are there."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = ("configs", "mtx", "scripts", "tests")
TINY = (
    "model.preset=null model.d_model=16 model.num_heads=2 model.d_ff=16 model.encoder_layers=1 model.decoder_layers=1 "
    "tokenizer.vocab_size=300 train.max_steps=4 train.eval_every=4"
)


def blocks(language: str, page: str = README) -> list[str]:
    """The contents of a page's code blocks in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)


def shell_function(program: Sequence[str]) -> dict[str, str]:
    """Variables with which bash takes `program` for `mtx`, whatever its PATH."""
    return {"BASH_FUNC_mtx%%": f'() {{ {shlex.join(program)} "$@"; }}'}


@pytest.mark.process
def test_the_commands_run_in_their_order(program: Sequence[str], tmp_path: Path) -> None:
    [config] = blocks("yaml")
    (tmp_path / "my.yaml").write_text(config, encoding="utf-8")
    for name in ("train", "dev", "test"):
        # Other sentences in each, or `mtx data check` would say no.
        english = "".join(
            f"A dog runs {count} times, {name}.\nThe cat sleeps {count} times, {name}.\n" for count in range(8)
        )
        german = "".join(
            f"Ein Hund rennt {count} mal, {name}.\nDie Katze schläft {count} mal, {name}.\n" for count in range(8)
        )
        (tmp_path / f"{name}.en").write_text(english)
        (tmp_path / f"{name}.de").write_text(german, encoding="utf-8")
    commands = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if "mtx " in line]
    assert len(commands) >= 10
    environment = {"MTX_CACHE": str(tmp_path / "cache")}
    installed = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for number, command in enumerate(commands):
        # The sizes of the README would take an hour; everything else is run as it stands there.
        tiny = re.sub(r"^(mtx train .*)$", rf"\1 {TINY}", command)
        variables = os.environ | environment | (shell_function(program) if number else installed)
        run = subprocess.run(
            ["bash", "-c", tiny], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{tiny}\n{run.stderr}"
    assert (tmp_path / "test.hyp").read_text().count("\n") == 16


@pytest.mark.process
@pytest.mark.skipif(
    Path(sys.prefix) != ROOT / ".venv", reason="scripts/demo makes .venv, and these tests run elsewhere"
)
def test_the_demo_runs(program: Sequence[str], tmp_path: Path) -> None:
    sizes = ["train.max_steps=3", "train.eval_every=3", "train.eval_sentences=4", "model.d_model=16", "model.d_ff=16"]
    places = {"MTX_DEMO_RUN": str(tmp_path / "demo"), "MTX_CACHE": str(tmp_path / "cache")}
    environment = os.environ | places | shell_function(program)
    # Hypotheses of an untrained model run to their limit: a short one is enough here.
    command = [
        ROOT / "scripts" / "demo",
        *sizes,
        "decode.beam_size=1",
        "decode.max_length_factor=0.5",
        "decode.max_length_extra=1",
    ]
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "synthetic" in run.stdout


def test_files_and_links_exist() -> None:
    pages = [ROOT / "README.md", *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
    assert len(pages) > 20
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    for page in [ROOT / "README.md", *(ROOT / "mtx").rglob("README.md")]:
        for path in re.findall(r"`(?!runs)([\w/]+(?:\.py|/))`", page.read_text(encoding="utf-8")):
            places = (
                page.parent,
                ROOT,
                *(ROOT / name for name in ("mtx", "mtx/config", "mtx/data/sources", "tests/model")),
            )
            name = path.replace("NAME.py", "")
            assert any((place / name).exists() for place in places), f"{page} names {path}"
    [tree] = blocks("text", (ROOT / "mtx" / "README.md").read_text(encoding="utf-8"))
    for name in re.findall(r"^ *(\S+)", tree, flags=re.MULTILINE):
        assert (ROOT / name).exists() or (ROOT / "mtx" / name).exists(), name


def test_the_tests_of_each_promise_exist() -> None:
    page = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w/]+\.py)`", page)
    assert len(set(paths)) > 50
    assert [path for path in paths if not (ROOT / "tests" / path).exists() and not (ROOT / path).exists()] == []
