"""`mtx init` turns files it has never seen into a config that trains, and writes nothing else."""

import json
import random
import re
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pytest

from mtx.config.load import dump_config, load_config

if TYPE_CHECKING:
    from .conftest import Mtx

SHAPE = ["model.d_model=16", "model.num_heads=2", "model.d_ff=16", "model.encoder_layers=1", "model.decoder_layers=1"]
STEPS = ["train.max_steps=4", "train.eval_every=4", "train.eval_sentences=2"]
TINY = [*SHAPE, *STEPS, "decode.beam_size=1", "decode.max_length_factor=0.1"]


@pytest.fixture(autouse=True)
def _measure_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.train.estimate.SECONDS", 0.0)
    monkeypatch.setattr("mtx.train.estimate.FIRST_TOKENS", 16)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def pairs(count: int, seed: int = 1) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    numbers = [draw.choices(range(1_000), k=draw.randint(2, 6)) for _ in range(count)]
    return [(" ".join(f"word{n}" for n in some), " ".join(f"Wort{n}" for n in reversed(some))) for some in numbers]


def write(folder: Path, count: int, name: str = "train") -> None:
    folder.mkdir(exist_ok=True)
    for language, lines in zip(("en", "de"), zip(*pairs(count), strict=True), strict=True):
        (folder / f"{name}.{language}").write_text("".join(f"{line}\n" for line in lines))


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.slow
def test_from_two_files_to_a_model(mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, 400)
    answer = mtx("init", "train.en", "train.de", "--output", "my.yaml")
    assert (answer.code, answer.out) == (0, "my.yaml\n")
    assert "mtx train --config my.yaml" in answer.err
    names = ["my.dev.de", "my.dev.en", "my.test.de", "my.test.en", "my.yaml", "train.de", "train.en"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    sets = {
        role: list(zip(*(lines_of(tmp_path / f"my.{role}.{x}") for x in ("en", "de")), strict=True))
        for role in ("dev", "test")
    }
    assert [len(some) for some in sets.values()] == [20, 20]
    held_out = [*sets["dev"], *sets["test"]]
    assert set(held_out) <= set(pairs(400))
    for side in (0, 1):
        assert len({pair[side] for pair in held_out}) == 40
    run = mtx("train", "--config", "my.yaml", *TINY)
    assert (run.code, run.out) == (0, f"{tmp_path}/runs/my/model\n"), run.err
    sides = [{pair[side] for pair in held_out} for side in (0, 1)]
    kept = {pair for pair in pairs(400) if pair[0] not in sides[0] and pair[1] not in sides[1]}
    assert f"kept {len(kept)} of 400 pairs" in run.err
    assert "in dev or test" in run.err
    assert mtx("data", "check", "--config", "my.yaml").code == 0
    score = mtx("evaluate", "--model", "runs/my", "--json")
    assert json.loads(score.out)["num_sentences"] == 20


def test_the_config_gives_reasons_and_loads(mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, 300)
    mtx("init", "train.en", "train.de", "--output", "my.yaml", "--device", "cpu")
    text = (tmp_path / "my.yaml").read_text()
    header, keys = (
        [line for line in text.splitlines() if line.startswith("#")],
        re.findall(r"^  \w+: .*$", text, re.MULTILINE),
    )
    names = ["purpose", "command", "made", "data", "time", "memory"]
    assert [word for line in header if (word := line.split()[1]) in names] == names  # a long estimate takes two lines
    assert "mtx init train.en train.de --output my.yaml --device cpu" in text
    assert all("  # " in line for line in keys if not line.startswith(("  src_lang", "  tgt_lang"))), text
    config = load_config(tmp_path / "my.yaml", [])
    assert (config.data.src_lang, config.data.tgt_lang, config.train.device) == ("en", "de", "cpu")
    assert config.data.train[0].model_dump()["src"] == tmp_path / "train.en"
    assert config.clean.held_out == "side"
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "again.yaml", []) == config


def test_the_same_data_gives_the_same_sets(mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, 300)
    for name in ("one", "two"):
        mtx("init", "train.en", "train.de", "--output", f"{name}.yaml")
    for part in ("dev.en", "dev.de", "test.en", "test.de"):
        assert (tmp_path / f"one.{part}").read_bytes() == (tmp_path / f"two.{part}").read_bytes()


def test_paths_are_relative_to_the_config(mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path / "data", 60)
    (tmp_path / "configs").mkdir()
    assert mtx("init", "data/train.en", "data/train.de", "-o", "configs/my.yaml").code == 0
    text = (tmp_path / "configs" / "my.yaml").read_text()
    assert "{src: ../data/train.en, tgt: ../data/train.de}" in text
    assert "{src: my.dev.en, tgt: my.dev.de}" in text
    data = load_config(tmp_path / "configs" / "my.yaml", []).data
    assert data.train[0].model_dump()["tgt"] == tmp_path / "data" / "train.de"
    assert data.dev[0].model_dump()["src"] == tmp_path / "configs" / "my.dev.en"
    mtx("init", tmp_path / "data" / "train.en", tmp_path / "data" / "train.de", "-o", "configs/two.yaml")
    assert f"{{src: {tmp_path}/data/train.en," in (tmp_path / "configs" / "two.yaml").read_text()


@pytest.mark.parametrize(
    "name", ["a: #[x], {y}", "-dash", "yes", "1e3", "line\nend: 1", "quo'te\"", "ü\u202e", "* &a", "\udcff"]
)
def test_special_characters_in_file_names(name: str, mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, 60, name)
    # The bytes of the path are printed; they need not be text.
    output = tmp_path / ("my.yaml" if name == "\udcff" else f"{name}.yaml")
    answer = mtx("init", f"./{name}.en", f"./{name}.de", "--output", output)
    assert answer.code == 0, answer.err
    config = load_config(output, [])
    assert config.data.train[0].model_dump()["src"] == tmp_path / f"{name}.en"
    assert config.data.dev[0].model_dump()["src"].read_bytes()
    head = output.read_text(encoding="utf-8").split("\ndata:\n")[0]
    assert all(line.startswith("# ") for line in head.split("\n"))


@pytest.mark.parametrize("existing", ["my.yaml", "my.dev.en", "my.test.de"])
def test_nothing_is_overwritten(existing: str, mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, 300)
    (tmp_path / existing).write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    answer = mtx("init", "train.en", "train.de", "--output", "my.yaml")
    assert (answer.code, answer.out) == (2, "")
    assert f"file already exists; mtx init never overwrites ({existing}). Give another --output" in answer.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ([], 2, "missing argument 'SOURCE"),
        (["--train", "train.en", "train.de"], 2, "there is no --train (command line). Give the sources as arguments"),
        (["train.en"], 2, "one text file given, two needed"),
        (["train.en", "missing.de"], 3, "cannot read missing.de"),
        (["empty.en", "empty.de"], 3, "no pair of sentences to use among 0"),
        (["train.en", "empty.de"], 3, "train.en has 40 lines, empty.de 0"),
        (["train.en", "train.en"], 2, "source and target are the same file"),
        (["t.tsv"], 2, "Give --src-lang and --tgt-lang"),
        (["t.tsv", "--src-lang", "e n", "--tgt-lang", "de"], 2, "e n is not a language code"),
        (["t.tsv", "--src-lang", "en", "--tgt-lang", "jp"], 2, "Did you mean ja?"),
        (["t.tsv", "--src-lang", "en", "--tgt-lang", "German"], 2, "Did you mean de?"),
        (["train.en", "train.de", "--dev", "train.en", "--dev", "train.de"], 2, "is a file of the training data"),
        (["train.en", "train.de", "--output", "no/my.yaml"], 2, "no such folder (no)"),
        (["train.en", "train.de", "--output", "-"], 2, "--output needs a file"),
        (["train.en", "train.de", "--device", "cuda:99"], 5, "device"),
        (["owner/name", "--src-lang", "en", "--tgt-lang", "de"], 3, "owner/name on the hub"),
    ],
)
def test_an_error_takes_one_line_and_writes_nothing(
    arguments: list[str], code: int, part: str, mtx: "Mtx", tmp_path: Path
) -> None:
    write(tmp_path, 40)
    (tmp_path / "empty.en").touch()
    (tmp_path / "empty.de").touch()
    (tmp_path / "t.tsv").write_text("a\tb\n")
    before = sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts)
    answer = mtx("init", *arguments)
    assert (answer.code, answer.out, len(answer.errors)) == (code, "", 1), answer.err
    assert part in answer.errors[0]
    assert sorted(path for path in tmp_path.rglob("*") if "cache" not in path.parts) == before


def test_a_failed_write_leaves_nothing(mtx: "Mtx", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mtx.init import write_config as module

    write(tmp_path, 300)
    real = module.new_file

    def full(path: Path) -> AbstractContextManager[BinaryIO]:
        if path.name == "my.test.en":
            raise OSError(28, "No space left on device")
        return real(path)

    monkeypatch.setattr(module, "new_file", full)
    assert mtx("init", "train.en", "train.de", "--output", "my.yaml").code == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.de", "train.en"]


@pytest.mark.parametrize(("count", "num_held_out"), [(1, 0), (12, 0), (50, 2)])
def test_few_pairs_still_train(count: int, num_held_out: int, mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, count)
    answer = mtx("init", "train.en", "train.de")
    assert (answer.code, answer.out) == (0, "en-de.yaml\n"), answer.err
    assert "fewer than 100 pairs" in answer.err
    dev = tmp_path / "en-de.dev.en"
    assert (len(lines_of(dev)) if dev.exists() else 0) == num_held_out
    run = mtx("train", "--config", "en-de.yaml", *TINY)
    assert run.code == 0, run.err


@pytest.mark.slow
def test_given_sets_are_used_and_left_out_of_training(mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, 300)
    lines = [f"{src}\t{tgt}\n" for src, tgt in pairs(300)]
    (tmp_path / "dev.tsv").write_text("".join(lines[:30]))
    (tmp_path / "test.tsv").write_text("".join(lines[30:50]))
    both = ["--dev", "dev.tsv", "--test", "test.tsv"]
    assert mtx("init", "train.en", "train.de", *both, "-o", "given.yaml").code == 0
    assert not list(tmp_path.glob("given.dev*"))
    assert load_config(tmp_path / "given.yaml", []).clean.held_out == "pair"
    plan = mtx("train", "--config", "given.yaml", "--dry-run", *TINY)
    assert "kept 250 of 300 pairs: dropped 50 in dev or test" in plan.err
    assert mtx("init", "train.en", "train.de", "--dev", "dev.tsv", "-o", "half.yaml").code == 0
    assert not list(tmp_path.glob("half.dev*"))
    test = set(zip(lines_of(tmp_path / "half.test.en"), lines_of(tmp_path / "half.test.de"), strict=True))
    assert len(test) == 13  # a twentieth of 270
    assert not test & set(pairs(300)[:30])
    # Other targets: the new test set shares no side with the given dev set.
    (tmp_path / "dev.tsv").write_text("".join(f"{src}\tother {n}\n" for n, (src, _) in enumerate(pairs(300)[:260])))
    assert mtx("init", "train.en", "train.de", "--dev", "dev.tsv", "-o", "sides.yaml").code == 0
    assert set(lines_of(tmp_path / "sides.test.en")) <= {src for src, _ in pairs(300)[260:]}


def test_equal_languages_get_sets_named_src_and_tgt(mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path, 60)
    (tmp_path / "train.de").rename(tmp_path / "simple.en")
    assert mtx("init", "train.en", "simple.en", "-o", "my.yaml").code == 0
    assert len(lines_of(tmp_path / "my.dev.src")) == len(lines_of(tmp_path / "my.dev.tgt")) == 3
    assert mtx("train", "--config", "my.yaml", "--dry-run", *TINY).code == 0


@pytest.mark.parametrize("kind", ["tsv", "tmx", "zip", "folder", "jsonl"])
def test_every_kind_of_source_gets_a_config_that_trains(kind: str, mtx: "Mtx", tmp_path: Path) -> None:
    write(tmp_path / "folder", 60)
    options = ["--src-lang", "en"]
    if kind == "tsv":
        (tmp_path / "x.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs(60)))
        options += ["--tgt-lang", "de"]
    elif kind == "jsonl":
        (tmp_path / "x.jsonl").write_text(
            "".join(json.dumps({"en": src, "de": f"{tgt}\n."}) + "\n" for src, tgt in pairs(60))
        )
        options += ["--tgt-lang", "de"]
    elif kind == "tmx":
        units = "".join(
            f'<tu><tuv xml:lang="en"><seg>{src}</seg></tuv><tuv xml:lang="de"><seg>{tgt}</seg></tuv></tu>'
            for src, tgt in pairs(60)
        )
        (tmp_path / "x.tmx").write_text(f'<tmx version="1.4"><header srclang="en"/><body>{units}</body></tmx>')
        options = []
    elif kind == "zip":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
            for language in ("en", "de"):
                file.write(tmp_path / "folder" / f"train.{language}", f"x.{language}")
    name = "folder" if kind == "folder" else f"x.{kind}"
    answer = mtx("init", name, *options, "-o", "my.yaml")
    assert answer.code == 0, answer.err
    assert len(lines_of(tmp_path / "my.dev.en")) == len(lines_of(tmp_path / "my.dev.de")) == 3
    plan = mtx("train", "--config", "my.yaml", "--dry-run", *TINY)
    assert plan.code == 0, plan.err
    assert "kept 54 of 60 pairs" in plan.err


def test_a_run_of_days_on_a_cpu_gets_advice(mtx: "Mtx", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.train.estimate._seconds_of", lambda *_: 1_000.0)
    write(tmp_path, 60)
    mtx("init", "train.en", "train.de", "-o", "my.yaml", "--device", "cpu")
    assert "days is long: lower train.max_steps" in (tmp_path / "my.yaml").read_text()
    load_config(tmp_path / "my.yaml", [])
