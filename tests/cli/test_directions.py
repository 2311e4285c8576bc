"""One model for several directions: a tag and languages on each source, and several dev and test sets."""

import json
import math
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import pytest

from mtx.checkpoint.model_folder import load_model
from mtx.config.load import dump_config, load_config
from mtx.decode.translator import Translator
from mtx.system.device import choose_device, choose_precision, use_threads
from mtx.train.run_folder import read_metrics
from mtx.train.trainer import train

if TYPE_CHECKING:
    from .conftest import Mtx

WORDS = {
    "de": (
        {"dog": "Hund", "cat": "Kater", "man": "Mann"},
        {"sees": "sieht den", "knows": "kennt den"},
        "Der {} {} {}.",
    ),
    "fr": ({"dog": "chien", "cat": "chat", "man": "gars"}, {"sees": "voit le", "knows": "connait le"}, "Le {} {} {}."),
    "zh": ({"dog": "狗", "cat": "猫", "man": "男人"}, {"sees": "看见", "knows": "认识"}, "那只{}{}那只{}。"),
}
CONFIG = """
data:
  src_lang: en
  tgt_lang: de
  train: [{tsv: de.tsv, tag: 2de}, {tsv: fr.tsv, tag: 2fr, tgt_lang: fr}, {tsv: zh.tsv, tag: 2zh, tgt_lang: zho}]
  dev: [{tsv: de.tsv, tag: 2de}, {tsv: zh.tsv, tag: 2zh, tgt_lang: zho}]
  test: [{tsv: de.tsv, tag: 2de}, {tsv: fr.tsv, tag: 2fr, tgt_lang: fr}, {tsv: zh.tsv, tag: 2zh, tgt_lang: zho}]
tokenizer: {vocab_size: 90, byte_fallback: false}
model: {d_model: 32, num_heads: 2, d_ff: 64, encoder_layers: 1, decoder_layers: 1, dropout: 0.0}
train: {max_steps: 120, batch_tokens: 300, lr: 1e-2, warmup_steps: 10, label_smoothing: 0, eval_every: 60,
        save_every: 120, log_every: 120, precision: fp32, device: cpu}
decode: {beam_size: 1}
"""


def write_corpora(folder: Path) -> Path:
    """Write the same sentences in three languages, and a config; returns the config."""
    for language, (nouns, verbs, form) in WORDS.items():
        triples = [(a, verb, b) for a in nouns for verb in verbs for b in nouns]
        lines = [f"The {a} {verb} the {b}.\t{form.format(nouns[a], verbs[verb], nouns[b])}\n" for a, verb, b in triples]
        (folder / f"{language}.tsv").write_text("".join(lines), encoding="utf-8")
    (folder / "three.yaml").write_text(CONFIG, encoding="utf-8")
    return folder / "three.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run that has learnt three directions."""
    folder = tmp_path_factory.mktemp("directions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTX_CACHE", str(folder / "cache"))
        use_threads()
        train(load_config(write_corpora(folder), []), folder / "run")
    return folder / "run"


def test_the_mean_over_the_dev_sets_is_recorded_with_the_scores_of_each(run: Path) -> None:
    validations = [record for record in read_metrics(run / "metrics.jsonl") if record["event"] == "validation"]
    assert len(validations) == 2
    for record in validations:
        assert [(one["name"], one["tokenizer"]) for one in record["sets"]] == [("de.tsv", "13a"), ("zh.tsv", "zh")]
        for name in ("loss", "bleu", "chrf"):
            assert record[name] == fmean(one[name] for one in record["sets"])
    assert validations[-1]["bleu"] > 90  # each set has its own tag
    card = (run / "model" / "README.md").read_text()
    assert "language: [en, de, fr, zho]\n" in card
    assert all(part in card for part in ("# en → de, fr, zho\n", "\nde.tsv:\n", "\nzh.tsv:\n", "\nmean of 2 sets:\n"))


def test_evaluate_scores_each_test_set_with_its_tag_and_tokenizer(mtx: "Mtx", run: Path) -> None:
    answer = mtx("evaluate", "--model", run, "--json", "--save-hyp", "hyp")
    assert (answer.code, answer.err) == (0, "")
    report = json.loads(answer.out)
    sets = report.pop("sets")
    assert [one["name"] for one in sets] == ["de.tsv", "fr.tsv", "zh.tsv"]
    assert {*sets[0]} == {*report, "name"}
    assert ["tok:zh|" in one["bleu"]["signature"] for one in sets] == [False, False, True]
    assert min(one["bleu"]["score"] for one in sets[::2]) > 90
    assert report["num_sentences"] == sum(one["num_sentences"] for one in sets) == 54
    for metric in ("bleu", "chrf"):
        assert report[metric]["score"] == fmean(one[metric]["score"] for one in sets)
        assert report[metric]["ci"] == pytest.approx(math.hypot(*(one[metric]["ci"] for one in sets)) / 3)
    assert all(one["bleu"]["signature"] in report["bleu"]["signature"] for one in sets)
    assert len(Path("hyp").read_text(encoding="utf-8").splitlines()) == 54
    text = mtx("evaluate", "--model", run, "--min", f"bleu={report['bleu']['score'] + 1}")
    assert (text.code, text.out.count("BLEU"), "mean of 3 sets:" in text.out) == (1, 4, True)


@pytest.mark.parametrize(("option", "name"), [("--tgt-lang=zh", "zh"), ("--tgt-lang=fra", "fr"), ("--tag=2fr", "fr")])
def test_a_language_or_a_tag_selects_test_sets(mtx: "Mtx", run: Path, option: str, name: str) -> None:
    selected = json.loads(mtx("evaluate", "--model", run, "--json", option).out)
    all_sets = json.loads(mtx("evaluate", "--model", run, "--json").out)["sets"]
    [expected] = [one for one in all_sets if one["name"] == f"{name}.tsv"]
    assert "sets" not in selected
    for key in ("num_sentences", "bleu", "chrf"):
        assert selected[key] == expected[key]


def test_a_language_without_a_test_set_is_refused(mtx: "Mtx", run: Path) -> None:
    answer = mtx("evaluate", "--model", run, "--tgt-lang", "ja")
    assert (answer.code, answer.out) == (2, "")
    assert "no test set of the run is in ja" in answer.errors[0]
    assert "Give one of de, fr, zho" in answer.errors[0]


def test_a_file_is_scored_in_the_language_of_the_tag(mtx: "Mtx", run: Path, tmp_path: Path) -> None:
    sides = zip(*(line.split("\t") for line in (run.parent / "zh.tsv").read_text().splitlines()), strict=True)
    for name, lines in zip(("src", "ref"), sides, strict=True):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    files = ["evaluate", "--model", run, "--src", "src", "--ref", "ref", "--json"]
    assert "tok:zh|" in mtx(*files, "--tag", "2zh").out
    assert "tok:13a|" in mtx(*files, "--tag", "2de").out
    assert "tok:char|" in mtx(*files, "--tag", "2de", "--tgt-lang", "th").out
    by_language = mtx(*files, "--tgt-lang", "zh")
    assert json.loads(by_language.out)["bleu"] == json.loads(mtx(*files, "--tag", "2zh").out)["bleu"]
    assert "translating with --tag 2zh, the one into zh" in by_language.err
    assert "translating with" not in mtx(*files, "--tgt-lang", "ja").err


def test_the_model_knows_the_language_of_each_tag(run: Path) -> None:
    trained = load_model(run / "model")
    assert trained.tag_languages == {"2fr": "fr", "2zh": "zho"}
    options = trained.generation.decode.with_options(tag="2zh")
    translator = Translator(trained, options, choose_precision("fp32", choose_device("cpu")))
    assert translator.tgt_lang == "zho"
    translator.set_tag("2de")
    assert translator.tgt_lang == "de"


@pytest.mark.parametrize("level", ["mild", "strict"])
def test_no_rule_takes_one_direction_for_another(mtx: "Mtx", tmp_path: Path, level: str) -> None:
    pytest.importorskip("py3langid")
    config = write_corpora(tmp_path)
    held_out = ["data.dev=null", "data.test=null"]
    for name, text in (
        ("de", "Der Hund sieht den alten Kater auf der Straße"),
        ("fr", "Le chien voit le chat dans la rue"),
    ):
        lines = [f"The dog {n} sees the old cat in the street\t{text} {n}\n" for n in range(20)]
        (tmp_path / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    answer = mtx(
        "data", "check", "--config", config, f"clean.level={level}", "clean.language=drop", *held_out, "--json"
    )
    assert answer.code == 0, answer.err
    sources = json.loads(answer.out)["sources"]
    assert [[side["language"] for side in source["sides"]] for source in sources] == [
        ["en", "de"], ["en", "fr"], ["en", "zho"]
    ]  # fmt: skip
    assert not [one for source in sources for one in source["findings"] if "another" in one["rule"]]
    without = [f"data.train=[{{tsv: {tmp_path}/de.tsv, tag: 2de}}, {{tsv: {tmp_path}/fr.tsv, tag: 2fr}}]"]
    assert "pairs are in another language" in mtx("data", "check", "--config", config, *held_out, *without).out
    cleaned = mtx("data", "clean", "--config", config, f"clean.level={level}", "--output", "cleaned")
    assert "kept 58 of 58 pairs" in cleaned.err
    assert {path.name for path in Path("cleaned").iterdir()} == {
        "train-1.en", "train-1.de", "train-2.en", "train-2.fr", "train-3.en", "train-3.zho", "dropped.jsonl"
    }  # fmt: skip


def test_overlap_is_found_in_each_of_several_sets(mtx: "Mtx", tmp_path: Path) -> None:
    answer = mtx("data", "check", "--config", write_corpora(tmp_path), "--json")
    found = {(each["role"], each["within"]): each["both"] for each in json.loads(answer.out)["overlaps"]}
    assert (answer.code, found) == (1, {("dev", "train"): 36, ("test", "train"): 54, ("test", "dev"): 36})
    dropped = mtx("data", "clean", "--config", tmp_path / "three.yaml", "clean.held_out=pair", "--output", "none")
    assert "no pair is kept among 54" in dropped.err


def test_a_single_set_is_written_as_before_and_several_as_a_list(tmp_path: Path) -> None:
    config = load_config(write_corpora(tmp_path), [])
    assert (
        load_config(write_corpora(tmp_path), ["data.dev=[{tsv: a.tsv}]"]).data.dev
        == load_config(write_corpora(tmp_path), ["data.dev={tsv: a.tsv}"]).data.dev
    )
    (tmp_path / "copy.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "copy.yaml", []) == config
    single = dump_config(load_config(write_corpora(tmp_path), ["data.dev={tsv: /a}", "data.test=null"]))
    assert "\n  dev:\n    tsv: /a\n" in single
