"""A folder with several kinds of files as training data, from the command line."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mtx.config.load import load_config
from mtx.data.prepared.prepare import prepare
from mtx.text.tokenizer import load_tokenizer
from mtx.train.run_folder import read_metrics
from mtx.train.setup import expand_config

if TYPE_CHECKING:
    from .conftest import Mtx

NOUNS = {"dog": "Hund", "cat": "Kater", "man": "Mann", "cook": "Koch"}
PAIRS = [(f"the {a} sees the {b}", f"der {NOUNS[a]} sieht den {NOUNS[b]}") for a in NOUNS for b in NOUNS]
SETTINGS = [
    "tokenizer.vocab_size=60", "tokenizer.byte_fallback=false", "model.d_model=16", "model.num_heads=2",
    "model.d_ff=16", "model.encoder_layers=1", "model.decoder_layers=1", "train.save_every=2", "train.batch_tokens=64",
    "train.precision=fp32", "train.device=cpu", "decode.beam_size=1", "decode.max_length_factor=1",
]  # fmt: skip


def unit(src: str, tgt: str) -> str:
    return f'<tu><tuv xml:lang="en"><seg>{src}</seg></tuv><tuv xml:lang="de-DE"><seg>{tgt}</seg></tuv></tu>'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Config for six files of pairs, some compressed, beside one file that is not parallel text."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for language, side in (("en", 0), ("de", 1)):
        text = "".join(f"{pair[side]}\n" for pair in PAIRS[:5])
        (corpus / f"b.{language}").write_text(text)
        packed = gzip.compress("".join(f"{pair[side]}\n" for pair in PAIRS[5:8]).encode())
        (corpus / f"d.{language}.gz").write_bytes(packed)
    (corpus / "a.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in PAIRS[8:11]))
    (corpus / "c.tmx").write_text(f"<tmx><body>{''.join(unit(*pair) for pair in PAIRS[11:])}</body></tmx>")
    (corpus / "README").write_text("no parallel text")
    (tmp_path / "dev.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in PAIRS[:2]))
    path = tmp_path / "folder.yaml"
    path.write_text("data: {train: [{folder: corpus, weight: 2, tag: 2de}], dev: {tsv: dev.tsv, tag: 2de}}\n")
    return path


def test_a_run_trains_on_all_files_of_a_folder(mtx: "Mtx", config: Path, tmp_path: Path) -> None:
    command = ["train", "--config", config, "--run-dir", tmp_path / "run", *SETTINGS]
    answer = mtx(*command, "train.max_steps=2", "train.eval_every=2")
    assert (answer.code, answer.out) == (0, f"{tmp_path / 'run' / 'model'}\n"), answer.err
    assert "kept 16 of 16 pairs" in answer.err
    assert "not parallel text, ignored: README" in answer.err
    assert {record["event"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")} == {"update", "validation"}

    # The config keeps the folder as it was given, not the files found in it.
    saved = load_config(tmp_path / "run" / "config.yaml", [])
    assert saved.data.train == load_config(config, []).data.train
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "a.tsv" in card
    assert "c.tmx" in card

    translated = mtx("translate", "--model", tmp_path / "run", "--tag", "2de", "the dog sees the cat")
    assert translated.code == 0

    again = mtx(*command, "train.max_steps=2", "train.eval_every=2")
    assert (again.code, again.out) == (0, answer.out)


def test_pairs_come_file_by_file_in_the_order_of_their_names(config: Path, mtx: "Mtx", tmp_path: Path) -> None:
    settings = expand_config(load_config(config, []))
    kinds = [type(source).__name__ for source in settings.data.train]
    assert kinds == ["Tsv", "TwoFiles", "Tmx", "TwoFiles"]
    assert {(source.weight, source.tag) for source in settings.data.train} == {(2.0, "2de")}
    mtx("train", "--config", config, "--run-dir", tmp_path / "run", *SETTINGS, "train.max_steps=2", "data.dev=null")
    tokenizer = load_tokenizer(tmp_path / "run")
    corpus = prepare(settings.data.train, settings.data, settings.clean, tokenizer)
    expected = [*PAIRS[8:11], *PAIRS[:5], *PAIRS[11:], *PAIRS[5:8]]
    assert corpus.source_sizes == (3, 5, 5, 3)
    assert [corpus.src[row].tolist()[1:] for row in range(16)] == tokenizer.encode_src([src for src, _ in expected])
    assert [corpus.tgt[row].tolist() for row in range(16)] == tokenizer.encode_tgt([tgt for _, tgt in expected])


def test_files_added_to_or_removed_from_the_folder_are_reported(mtx: "Mtx", config: Path, tmp_path: Path) -> None:
    command = ["train", "--config", config, "--run-dir", tmp_path / "run", *SETTINGS, "data.dev=null"]
    assert mtx(*command, "train.max_steps=2").code == 0
    for name in ("aa.tsv", "z.tsv"):  # between the others, and after all of them
        (tmp_path / "corpus" / name).write_text("a bird\tein Vogel\n")
        answer = mtx(*command, "train.max_steps=4")
        assert answer.code == 3
        [error] = answer.errors
        assert error.startswith(
            f"mtx: error: the training data is not that of the run's start ({tmp_path / 'run'}: {name})."
        )
        (tmp_path / "corpus" / name).unlink()
    (tmp_path / "corpus" / "a.tsv").rename(tmp_path / "a.tsv")
    assert f"({tmp_path / 'run'}: a.tsv)" in mtx(*command, "train.max_steps=4").err
    (tmp_path / "a.tsv").rename(tmp_path / "corpus" / "a.tsv")
    (tmp_path / "corpus" / "notes.txt").write_text("no parallel text either")
    assert mtx(*command, "train.max_steps=4").code == 0


def test_a_folder_without_parallel_text_leaves_no_run(mtx: "Mtx", config: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "corpus").iterdir():
        if path.name != "README":
            path.unlink()
    answer = mtx("train", "--config", config, "--run-dir", tmp_path / "run", *SETTINGS)
    assert (answer.code, answer.out) == (3, "")
    assert "no parallel files among the 1 that match *" in answer.errors[0]
    assert not (tmp_path / "run").exists()
