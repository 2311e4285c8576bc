"""`mtx evaluate --tune`: what is found on the dev set is stored in the model folder, and nothing else changes."""

import json
import os
import shutil
from pathlib import Path

import pytest

from mtx.checkpoint.model_folder import CARD, GENERATION, load_model, set_decode
from mtx.judge.tuning import Tuning
from tests.cli.conftest import Mtx


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(finished_run, tmp_path / "runs" / "my"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_setting_that_is_better_is_stored(run: Path, mtx: Mtx, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(run / "model")
    answer = mtx("evaluate", "--tune", "-m", run)
    assert answer.code == 0, answer.err
    header, *rows = answer.out.splitlines()
    assert header.split() == ["beam", "length", "penalty", "BLEU", "chrF2", "length", "ratio"]
    assert {row.split()[0] for row in rows} == {"1", "2", "4", "5", "8"}
    assert sum("the model's own" in row for row in rows) == 1
    if "nothing stored" in answer.err:
        assert contents(run / "model") == before

    monkeypatch.setattr(Tuning, "is_better", True)
    answer = mtx("evaluate", "--tune", "-m", run / "model", "--json")
    found = json.loads(answer.out)
    assert (found["stored"], found["sets"]) == (True, ["dev.en and dev.de"])
    assert f"stored in {run / 'model'}: beam " in answer.err
    decode = load_model(run / "model").generation.decode
    assert (decode.beam_size, decode.length_penalty) == (
        found["chosen"]["beam_size"],
        found["chosen"]["length_penalty"],
    )
    after = contents(run / "model")
    assert {name for name in after if after[name] != before[name]} <= {GENERATION, CARD, "manifest.json"}
    card = after[CARD].decode()
    assert card.startswith(before[CARD].decode())
    assert f"Search settings: beam {decode.beam_size} and length penalty {decode.length_penalty:g} were" in card
    assert mtx("evaluate", "--tune", "-m", run).code == 0
    assert (run / "model" / CARD).read_text().count("Search settings: ") == 1
    set_decode(run / "model", decode)
    assert (run / "model" / CARD).read_bytes() == before[CARD]


def test_other_files_and_links_stay(run: Path, tmp_path: Path) -> None:
    model, link = run / "model", tmp_path / "link"
    link.symlink_to(model)
    (model / ".gitattributes").write_text("x")
    (model / "onnx").mkdir()
    (model / "onnx" / "manifest.json").write_text("x")
    (model / "nowhere").symlink_to("nothing")
    (model / "config.json").chmod(0o400)
    (tmp_path / "card").write_bytes((model / CARD).read_bytes())
    (model / CARD).unlink()
    (model / CARD).symlink_to(tmp_path / "card")
    card = (tmp_path / "card").read_bytes()
    set_decode(link, load_model(link).generation.decode.model_copy(update={"beam_size": 3}), "because.")
    assert (link.is_symlink(), load_model(link).generation.decode.beam_size) == (True, 3)
    assert ((model / ".gitattributes").read_text(), (model / "onnx" / "manifest.json").read_text()) == ("x", "x")
    assert ((model / "nowhere").is_symlink(), (model / "config.json").stat().st_mode & 0o777) == (True, 0o400)
    assert ((tmp_path / "card").read_bytes(), b"because." in (model / CARD).read_bytes()) == (card, True)
    assert not [path for path in [*tmp_path.iterdir(), *run.iterdir()] if ".old-" in path.name or ".tmp-" in path.name]


def test_the_folder_of_the_shell_is_tuned(run: Path, mtx: Mtx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tuning, "is_better", True)
    monkeypatch.setattr("mtx.judge.tuning.BEAM_SIZES", (1,))
    monkeypatch.chdir(run / "model")
    answer = mtx("evaluate", "--tune", "-m", ".")
    assert (answer.code, "stored in ." in answer.err) == (0, True)
    assert load_model(run / "model")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hyp", "x", "--ref", "y"], "both --tune and --hyp given"),
        (["--baseline", "x"], "both --tune and --baseline given"),
        (["--sample"], "both --tune and --sample given"),
        (["--mbr", "4"], "both --tune and --mbr given"),
        (["--beam", "4"], "both --tune and --beam given"),
        (["--test-set", "wmt17:en-de"], "both --tune and --test-set given"),
        (["--min", "bleu=3"], "both --tune and --min given"),
        (["-m", "x", "-m", "y"], "both --tune and a second --model given"),
    ],
)
def test_options_that_make_no_sense_beside_it_are_refused(arguments: list[str], said: str, mtx: Mtx) -> None:
    answer = mtx("evaluate", "--tune", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err


def test_the_test_set_is_refused(run: Path, finished_run: Path, mtx: Mtx) -> None:
    test = finished_run.parents[1] / "test.en"
    answer = mtx("evaluate", "--tune", "-m", run, "--src", test, "--ref", test.with_suffix(".de"))
    assert (answer.code, answer.out) == (2, "")
    assert f"{test} is the test set of the run" in answer.err
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("dev.en", "test.en").replace("dev.de", "test.de"))
    answer = mtx("evaluate", "--tune", "-m", run)
    assert (answer.code, answer.out) == (2, "")
    assert f"{test} is the test set of the run" in answer.err


def test_a_missing_test_set_does_not_matter(run: Path, mtx: Mtx) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("test.en", "gone.en"))
    assert mtx("evaluate", "--tune", "-m", run).code == 0
    config.write_text(config.read_text().replace("dev.en", "gone.en"))
    answer = mtx("evaluate", "--tune", "-m", run)
    assert (answer.code, "data.test" in answer.err) == (3, False)


def test_given_sets_are_used_by_a_model_without_a_run(run: Path, mtx: Mtx, tmp_path: Path) -> None:
    model = Path(shutil.copytree(run / "model", tmp_path / "alone"))
    answer = mtx("evaluate", "--tune", "-m", model)
    assert (answer.code, answer.out) == (2, "")
    assert "no dev set" in answer.err
    for name, text in (("a.en", "The dog sees a cat.\n"), ("a.de", "Der Hund sieht einen Kater.\n"), ("b.en", "")):
        (tmp_path / name).write_text(text)
    answer = mtx("evaluate", "--tune", "-m", model, "--src", "a.en", "--ref", "a.de")
    assert answer.code == 0
    assert "nothing stored: the model's own setting is within one standard error" in answer.err
    assert mtx("evaluate", "--tune", "-m", model, "--src", "b.en", "--ref", "b.en").code == 3


def test_a_folder_that_cannot_be_written_is_told_first(run: Path, mtx: Mtx, monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    answer = mtx("evaluate", "--tune", "-m", run)
    assert (answer.code, answer.out) == (5, "")
    assert "searched" not in answer.err
