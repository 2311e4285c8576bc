"""Two target languages in one model, selected by a tag that only code can put before the source."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import sentencepiece

from mtx.checkpoint.model_folder import load_model
from mtx.config.load import load_config
from mtx.config.settings import Config
from mtx.data.prepared.corpus import Corpus
from mtx.decode.lines import Segment
from mtx.decode.translator import Translator
from mtx.system.device import use_threads
from mtx.text.tokenizer import Tokenizer
from mtx.train.run_folder import RunFolder, read_metrics
from mtx.train.setup import load_inputs
from mtx.train.trainer import train

if TYPE_CHECKING:
    from .conftest import Mtx

NOUNS = {"dog": ("Hund", "chien"), "cat": ("Kater", "chat"), "man": ("Mann", "homme")}
VERBS = {"sees": ("sieht", "voit"), "knows": ("kennt", "connait")}
TRIPLES = [(a, verb, b) for a in NOUNS for verb in VERBS for b in NOUNS]
PAIRS = [
    [(f"the {a} {verb} the {b}", f"{NOUNS[a][side]} {VERBS[verb][side]} {NOUNS[b][side]}") for a, verb, b in TRIPLES]
    for side in (0, 1)
]
"""The same sentences in German, and in French."""

SENTENCE, GERMAN, FRENCH = "the cat knows the man", "Kater kennt Mann", "chat connait homme"

CONFIG = """
data:
  train: [{tsv: de.tsv, tag: 2de}, {tsv: fr.tsv, tag: 2fr}]
  dev: {tsv: fr.tsv, tag: 2fr}
  test: {tsv: de.tsv, tag: 2de}
tokenizer: {vocab_size: 90, byte_fallback: false}
model: {d_model: 32, num_heads: 2, d_ff: 64, encoder_layers: 1, decoder_layers: 1, dropout: 0.0}
train: {max_steps: 120, batch_tokens: 200, lr: 1e-2, warmup_steps: 10, label_smoothing: 0, eval_every: 120,
        save_every: 120, log_every: 120, eval_beam: 1, precision: fp32, device: cpu}
decode: {beam_size: 1}
"""


def write_corpora(folder: Path, config: str = CONFIG) -> Path:
    """Write both corpora and a config; returns the config."""
    for name, pairs in zip(("de", "fr"), PAIRS, strict=True):
        (folder / f"{name}.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs), encoding="utf-8")
    (folder / "tags.yaml").write_text(config, encoding="utf-8")
    return folder / "tags.yaml"


@pytest.fixture(scope="module")
def tagged_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run that has memorized both corpora."""
    folder = tmp_path_factory.mktemp("tagged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTX_CACHE", str(folder / "cache"))
        use_threads()
        train(load_config(write_corpora(folder), []), folder / "run")
    return folder / "run"


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Token ids that the encoder gets from now on, in this process."""
    found: list[list[int]] = []
    search = Translator._search

    def noted(self: Translator, segments: list[Segment]) -> object:
        found.extend(segment.ids for segment in segments)
        return search(self, segments)

    monkeypatch.setattr(Translator, "_search", noted)
    return found


@pytest.fixture
def prepared(
    configure_tags: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Tokenizer, Corpus, Corpus]]:
    """Tokenizer and prepared train and dev pairs of a config."""
    monkeypatch.setattr("mtx.train.setup.matrix_rate", lambda _precision: 1e9)

    def prepare(*overrides: str) -> tuple[Tokenizer, Corpus, Corpus]:
        inputs = load_inputs(configure_tags(*overrides), RunFolder(tmp_path / "none"))
        [dev] = inputs.dev
        return inputs.trained.tokenizer, inputs.corpus, dev.corpus

    return prepare


@pytest.fixture
def configure_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = write_corpora(tmp_path)
    return lambda *overrides: load_config(path, overrides)


def controls(tokenizer: Tokenizer) -> set[int]:
    """Ids that no text may produce."""
    pieces = tokenizer.src_pieces
    return {id_ for id_ in range(tokenizer.src_vocab_size) if pieces.is_control(id_)}


# --- training --------------------------------------------------------------------------------------------------------


def test_prepared_sources_begin_with_their_tag(
    prepared: Callable[..., tuple[Tokenizer, Corpus, Corpus]],
) -> None:
    tokenizer, corpus, dev = prepared()
    german, french = tokenizer.tag_id("2de"), tokenizer.tag_id("2fr")
    assert list(tokenizer.tags) == ["2de", "2fr"]
    assert len({german, french, tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id}) == 6
    rows = [corpus.src[row].tolist() for row in range(len(corpus))]
    expected = tokenizer.encode_src([src for src, _ in PAIRS[0]])
    assert rows == [[tag, *ids] for tag in (german, french) for ids in expected]
    assert [dev.src[row].tolist() for row in range(len(dev))] == [[french, *ids] for ids in expected]


def test_typed_tags_are_text(prepared: Callable[..., tuple[Tokenizer, Corpus, Corpus]], tmp_path: Path) -> None:
    """In every kind of file, for training and dev."""
    typed = [("<2de> the dog <2fr>", "<2fr> Hund <2de>"), (" <2fr>the man</s>", "<2de>Mann"), ("<2de>", "<2de>")]
    (tmp_path / "typed.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in typed))
    lines = [json.dumps({"src": src, "tgt": f"{tgt} too"}) for src, tgt in typed]
    (tmp_path / "typed.jsonl").write_text("\n".join(lines))
    added = ["{tsv: typed.tsv, tag: 2fr}", "{jsonl: typed.jsonl, tag: 2de}", "{tsv: de.tsv}"]
    tokenizer, corpus, dev = prepared(f"data.train=[{', '.join(added)}]", "data.dev={jsonl: typed.jsonl, tag: 2fr}")
    german, french = tokenizer.tag_id("2de"), tokenizer.tag_id("2fr")
    first = [corpus.src[row].tolist()[0] for row in range(6)]
    assert first == [french] * 3 + [german] * 3
    assert [dev.src[row].tolist()[0] for row in range(3)] == [french] * 3
    texts = [corpus.src[row].tolist()[row < 6 :] for row in range(len(corpus))]
    texts += [dev.src[row].tolist()[1:] for row in range(len(dev))]
    texts += [side[row].tolist() for side in (corpus.tgt, dev.tgt) for row in range(len(side))]
    assert len(texts) == 2 * (6 + len(PAIRS[0]) + 3)
    assert not controls(tokenizer) & set(np.concatenate(texts).tolist())


def test_separate_vocabularies_have_the_tags_on_the_source_side(
    prepared: Callable[..., tuple[Tokenizer, Corpus, Corpus]],
) -> None:
    tokenizer, corpus, _ = prepared("tokenizer.joint=false", "tokenizer.vocab_size=40")
    assert list(tokenizer.tags) == ["2de", "2fr"]
    assert tokenizer.tgt_pieces.piece_to_id("<2de>") == tokenizer.unk_id
    assert corpus.src[0][0] == tokenizer.tag_id("2de")


@pytest.mark.parametrize("role", ["dev", "test"])
def test_a_tag_missing_in_training_is_reported_before_training(mtx: "Mtx", tmp_path: Path, role: str) -> None:
    config = write_corpora(tmp_path)
    answer = mtx("train", "--config", config, f"data.{role}={{tsv: fr.tsv, tag: 2es}}")
    assert answer.code == 2
    assert answer.errors == ["mtx: error: the tokenizer has no tag 2es. Give one of 2de, 2fr."]
    assert not (tmp_path / "runs").exists()


# --- use -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_sentence_is_translated_in_two_ways(mtx: "Mtx", tagged_run: Path, searched: list[list[int]]) -> None:
    tokenizer = load_model(tagged_run / "model").tokenizer
    for tag, expected in (("2de", GERMAN), ("2fr", FRENCH)):
        answer = mtx("translate", "--model", tagged_run, "--tag", tag, SENTENCE)
        assert (answer.code, answer.out, answer.err) == (0, f"{expected}\n", "")
    text = tokenizer.encode_src([SENTENCE])[0]
    assert searched == [[tokenizer.tag_id("2de"), *text], [tokenizer.tag_id("2fr"), *text]]


def test_each_line_of_json_may_have_its_own_tag(mtx: "Mtx", tagged_run: Path) -> None:
    tags = ["2de", "2fr", "2fr", None, "2de"]
    lines = [json.dumps({"src": SENTENCE, "tag": tag}) for tag in tags]
    given = ["translate", "-m", tagged_run, "--input-format", "jsonl", "--tag", "2fr"]
    answer = mtx(*given, stdin="\n".join(lines).encode())
    assert answer.out.splitlines() == [GERMAN if tag == "2de" else FRENCH for tag in tags]
    answer = mtx(*given, stdin=b'{"src": "the cat", "tag": "2xx"}')
    assert (answer.code, 'no tag "2xx" (stdin line 1). Give one of 2' in answer.err) == (3, True)


def test_every_part_of_a_long_line_has_the_tag(mtx: "Mtx", tagged_run: Path, searched: list[list[int]]) -> None:
    trained = load_model(tagged_run / "model")
    line = ". ".join([SENTENCE] * 4) + "."
    assert mtx("translate", "--model", tagged_run, "--tag", "2fr", line).code == 0
    tag = trained.tokenizer.tag_id("2fr")
    assert len(searched) >= 4
    assert all(ids[0] == tag and tag not in ids[1:] for ids in searched)
    assert max(map(len, searched)) + 1 <= trained.generation.max_source_tokens


@pytest.mark.parametrize("form", ["text", "jsonl"])
def test_a_typed_tag_is_not_the_tag(mtx: "Mtx", tagged_run: Path, searched: list[list[int]], form: str) -> None:
    tokenizer = load_model(tagged_run / "model").tokenizer
    lines = [f"<2de> {SENTENCE}", f"<2de>{SENTENCE} <2fr> <s> </s>", "<2de>"]
    options = ["--model", tagged_run, "--format", form]
    assert mtx("translate", *options, "--tag", "2fr", stdin="\n".join(lines).encode()).code == 0
    assert len(searched) >= len(lines)  # long ones are searched in parts
    assert {ids[0] for ids in searched} == {tokenizer.tag_id("2fr")}
    texts = [ids[1:] for ids in searched]
    searched.clear()
    untagged = mtx("translate", *options, stdin="\n".join(lines).encode())
    assert "no --tag given; the model was trained with 2de, 2fr" in untagged.err
    texts += searched
    assert len(texts) >= 2 * len(lines)
    assert not controls(tokenizer) & set(np.concatenate(texts).tolist())


@pytest.mark.parametrize("command", ["translate", "evaluate"])
def test_an_unknown_tag_is_an_error_that_names_the_known_ones(mtx: "Mtx", tagged_run: Path, command: str) -> None:
    answer = mtx(command, "--model", tagged_run, "--tag", "2es", *(["a dog"] if command == "translate" else []))
    assert (answer.code, answer.out) == (2, "")
    assert answer.errors == ["mtx: error: the tokenizer has no tag 2es. Give one of 2de, 2fr."]


@pytest.mark.parametrize("tag", ["2de", "s", "/s", "pad", "unk", ""])
def test_a_model_without_tags_knows_none(mtx: "Mtx", finished_run: Path, tag: str) -> None:
    """Not even its own special symbols."""
    answer = mtx("translate", "--model", finished_run, "--tag", tag, "The dog.")
    assert (answer.code, answer.out) == (2, "")
    assert answer.errors == [f"mtx: error: the tokenizer has no tag {tag}. Leave it out."]


def test_dev_and_test_sets_use_their_own_tag(mtx: "Mtx", tagged_run: Path, searched: list[list[int]]) -> None:
    """Dev is French here and test German: with the wrong tag they would not be translated from memory."""
    [validation] = [record for record in read_metrics(tagged_run / "metrics.jsonl") if record["event"] == "validation"]
    assert validation["chrf"] > 99
    assert validation["loss"] < 0.1
    tokenizer = load_model(tagged_run / "model").tokenizer
    scores, begins = {}, {}
    for options in ([], ["--tag", "2de"], ["--tag", "2fr"]):
        answer = mtx("evaluate", "--model", tagged_run, "--json", *options)
        assert answer.code == 0
        begins[" ".join(options)] = {ids[0] for ids in searched}
        searched.clear()
        scores[" ".join(options)] = json.loads(answer.out)["chrf"]["score"]
    assert scores[""] == scores["--tag 2de"] > 99
    assert scores["--tag 2fr"] < 50
    assert begins[""] == begins["--tag 2de"] == {tokenizer.tag_id("2de")}
    assert begins["--tag 2fr"] == {tokenizer.tag_id("2fr")}


def test_a_file_is_evaluated_with_the_given_tag(mtx: "Mtx", tagged_run: Path, tmp_path: Path) -> None:
    (tmp_path / "src").write_text(f"{SENTENCE}\n")
    (tmp_path / "ref").write_text(f"{FRENCH}\n")
    files = ["--src", tmp_path / "src", "--ref", tmp_path / "ref", "--json"]
    for tag, is_right in (("2fr", True), ("2de", False)):
        answer = mtx("evaluate", "--model", tagged_run, *files, "--tag", tag)
        assert (json.loads(answer.out)["chrf"]["score"] > 99) is is_right


# --- model folders ---------------------------------------------------------------------------------------------------


def test_tags_are_part_of_the_model_folder(mtx: "Mtx", tagged_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tagged_run / "model", tmp_path / "copy")
    answer = mtx("translate", "--model", tmp_path / "copy", "--tag", "2fr", SENTENCE)
    assert answer.out == f"{FRENCH}\n"
    outside = sentencepiece.SentencePieceProcessor(model_file=os.fspath(tmp_path / "copy" / "spm.model"))
    for tag in ("2de", "2fr"):
        id_ = outside.piece_to_id(f"<{tag}>")
        assert id_ == load_model(tmp_path / "copy").tokenizer.tag_id(tag)
        assert outside.is_control(id_)
        assert id_ not in outside.encode(f"<{tag}> {SENTENCE}")


def test_a_tokenizer_of_another_run_brings_its_tags(
    mtx: "Mtx", tagged_run: Path, prepared: Callable[..., tuple[Tokenizer, Corpus, Corpus]], tmp_path: Path
) -> None:
    model = tagged_run / "model" / "spm.model"
    tokenizer, corpus, _ = prepared(f"tokenizer.file={model}", "data.train=[{tsv: de.tsv, tag: 2de}]")
    assert corpus.src[0][0] == tokenizer.tag_id("2de")
    config = tmp_path / "tags.yaml"
    answer = mtx("train", "--config", config, "data.train=[{tsv: de.tsv, tag: 2es}]", f"tokenizer.file={model}")
    assert answer.code == 2
    assert answer.errors == ["mtx: error: the tokenizer has no tag 2es. Give one of 2de, 2fr."]


def test_a_run_does_not_continue_with_another_tag(mtx: "Mtx", tagged_run: Path) -> None:
    config = tagged_run.parent / "tags.yaml"
    other = "data.train=[{tsv: DIR/de.tsv, tag: 2fr}, {tsv: DIR/fr.tsv, tag: 2fr}]".replace("DIR", str(config.parent))
    answer = mtx("train", "--config", config, "--run-dir", tagged_run, other)
    assert answer.code == 2
    assert "data.train[0].tag: 2de -> 2fr" in answer.err


def test_a_baseline_translates_with_the_tag_of_each_set_that_it_has(
    mtx: "Mtx", tagged_run: Path, finished_run: Path
) -> None:
    itself = mtx("evaluate", "-m", tagged_run, "--baseline", tagged_run)
    assert (itself.code, itself.err) == (0, "")
    assert "0 sentences differ" in itself.out
    untagged = mtx("evaluate", "-m", tagged_run, "--baseline", finished_run, "--tag", "2de", "--tgt-lang", "fr")
    assert (untagged.code, untagged.errors) == (0, [])
    assert f"the baseline {finished_run} translates from en into de, not from en into fr" in untagged.err
    (Path() / "hyp").write_text(f"{FRENCH}\n")
    given = ["evaluate", "--hyp", "hyp", "--src", "hyp", "--ref", "hyp", "--baseline", finished_run]
    assert mtx(*given, "--tag", "2de").code == 2
