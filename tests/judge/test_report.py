"""Scores equal sacreBLEU's to the last digit, with its signatures."""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.translator import Translator
from mtx.errors import ExitCode, UserError
from mtx.judge.judgement import Parts, judge
from mtx.judge.languages import choose_bleu_tokenizer, language_notes
from mtx.judge.report import Report, Score, score
from mtx.judge.test_set import TestSet, translate_set
from mtx.system.device import Precision

WORDS = [
    "a", "The", "dog,", "Cat;", "isn't", "3.5", "“quoted”", "naïve", "—", "犬", "&", "more.", "Größe", "--",
    "a\u2028b", "x\x85y",
]  # fmt: skip
CHINESE = "今天天气很好，我们去公园吧。ABC 12"
THAI = "วันนี้อากาศดีมาก เราไปสวนกันเถอะ ABC 12"
ODD = [
    "\u2028", "\u2029", "\x85", "\r", "\x0b", "\x0c", "\x1c", "\ufeff", "\u2581",
    "\0", "\t", "\u3000", "ab", "C", " d", ".",
]  # fmt: skip
"""Characters that some readers treat as line ends or strip, and some letters."""


def corpus(seed: int, alphabet: Sequence[str], joint: str) -> tuple[list[str], list[str]]:
    """Hypotheses and references, which have much in common."""
    draw = random.Random(seed)
    references = [[draw.choice(alphabet) for _ in range(draw.randint(3, 15))] for _ in range(30)]
    hypotheses = [[draw.choice(alphabet) if draw.random() < 0.3 else word for word in line] for line in references]
    hypotheses[3], references[5] = [], ["a"]
    return [joint.join(line) for line in hypotheses], [joint.join(line) for line in references]


def sacrebleu_command(
    folder: Path, hypotheses: list[str], references: list[list[str]], *options: str
) -> list[dict[str, Any]]:
    """The output of the `sacrebleu` command for files with these lines."""
    names = [f"ref{number}" for number in range(len(references))]
    for name, lines in zip(["hyp", *names], [hypotheses, *references], strict=True):
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", *names, "-i", "hyp", "-m", "bleu", "chrf", "-w", "12", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.process
@pytest.mark.parametrize(
    ("lang", "num_references", "options"),
    [("de", 1, []), ("de", 3, []), ("zho", 1, ["-tok", "zh"]), ("tha", 1, ["-tok", "char"])],
)
def test_scores_are_those_of_the_sacrebleu_command(
    lang: str, num_references: int, options: list[str], tmp_path: Path
) -> None:
    alphabets = {"de": (1, WORDS, " "), "zho": (2, CHINESE, ""), "tha": (2, THAI, "")}
    hypotheses, first = corpus(*alphabets[lang])
    references = [first, *(corpus(seed, WORDS, " ")[1] for seed in range(2, num_references + 1))]
    expected = sacrebleu_command(tmp_path, hypotheses, references, "--confidence", *options)
    tokenizer = choose_bleu_tokenizer(lang)
    *scores, length_ratio = score(hypotheses, references, tokenizer)
    for found, theirs in zip(scores, expected, strict=True):
        assert found.score == pytest.approx(theirs["score"], abs=1e-11)
        assert found.ci == pytest.approx(float(theirs["confidence_var"]), abs=1e-11)
        assert found.signature == theirs["signature"]
        assert 0 < found.ci < found.score < 100
    assert f"ratio = {length_ratio:.3f}" in expected[0]["verbose_score"]
    bleu, chrf, _ = score(hypotheses, references, tokenizer, with_ci=False)
    assert (bleu.score, chrf.score, bleu.ci) == (scores[0].score, scores[1].score, 0.0)
    assert "bs:" not in bleu.signature


@pytest.mark.parametrize("seed", range(50))
def test_scores_are_sacrebleus_to_the_last_digit(seed: int) -> None:
    lang, alphabet, joint = [("de", WORDS, " "), ("zh", CHINESE, ""), ("en", ODD, ""), ("de", [*WORDS, *ODD], " ")][
        seed % 4
    ]
    hypotheses, references = corpus(seed, alphabet, joint)
    bleu, chrf, length_ratio = score(hypotheses, [references], choose_bleu_tokenizer(lang), with_ci=False)
    expected = sacrebleu.corpus_bleu(hypotheses, [references], tokenize="zh" if lang == "zh" else "13a")
    assert bleu.score == expected.score
    assert length_ratio == expected.sys_len / expected.ref_len
    assert chrf.score == sacrebleu.corpus_chrf(hypotheses, [references]).score


@pytest.mark.parametrize(
    ("tokenizer", "codes"),
    [
        ("13a", "de deu ger pt-BR zh-Latn ja_Latn id in iw ar vi jv sr xx x-toy und"),
        ("zh", "zh ZH-cn zho zho_Hans chi cmn zh_TW zh-Hant-TW yue yue_Hant lzh wuu"),
        ("char", "th tha my mya bur my-MM km khm lo lao bo tib bod dz dzo jv-Java ban_Bali nod shn"),
    ],
)
def test_each_language_has_its_tokenizer(tokenizer: str, codes: str) -> None:
    assert {code: choose_bleu_tokenizer(code) for code in codes.split()} == dict.fromkeys(codes.split(), tokenizer)
    assert f"tok:{tokenizer}|" in score(["a"], [["a"]], tokenizer, with_ci=False)[0].signature


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [("今天天气很好。", "zh"), ("他说 OK，然后去了 New York。", "zh"), ("สวัสดี", "char"), ("မင်္ဂလာပါ", "char"),
     ("សួស្តី", "char"), ("ສະບາຍດີ", "char"), ("Guten Tag, 世界!", "13a"), ("Привет", "13a"), ("1997", "13a"), ("", "13a")],
)  # fmt: skip
@pytest.mark.parametrize("code", [None, "xx", "x-toy"])
def test_a_language_that_is_not_known_has_the_tokenizer_of_its_script(
    code: str | None, text: str, tokenizer: str
) -> None:
    assert choose_bleu_tokenizer(code, [text]) == tokenizer
    assert choose_bleu_tokenizer("fr", [text]) == "13a"


@pytest.mark.parametrize("lang", ["ja", "jpn", "ko_KR", "kor"])
@pytest.mark.parametrize("is_installed", [False, True])
def test_japanese_and_korean_count_characters_without_the_extra(
    lang: str, is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab

    module, kind = (tokenizer_ja_mecab, "Ja") if lang.startswith("j") else (tokenizer_ko_mecab, "Ko")
    monkeypatch.setattr(module, "MeCab", None)
    if is_installed:
        tokenizer = getattr(module, f"Tokenizer{kind}Mecab")
        monkeypatch.setattr(tokenizer, "__init__", lambda self: None)
        monkeypatch.setattr(tokenizer, "signature", lambda self: "mecab")
    reference = "これは犬です" if kind == "Ja" else "이것은 개입니다"
    assert choose_bleu_tokenizer(lang) == choose_bleu_tokenizer(None, [reference])
    assert choose_bleu_tokenizer(lang) == (f"{kind.lower()}-mecab" if is_installed else "char")
    notes = list(language_notes(["en"], [lang, lang]))
    assert [f"BLEU of {lang} " in note and "pip install 'mtx[cjk]'" in note for note in notes] == (
        [] if is_installed else [True]
    )


def test_what_is_no_language_is_told() -> None:
    assert list(language_notes(["zho"], ["pt_BR", "x-toy"])) == []
    notes = list(language_notes(["jp"], ["cz", "toy2"]))
    assert ["Did you mean ja?" in notes[0], "Did you mean cs?" in notes[1], "x-NAME" in notes[2]] == [True] * 3


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (["a"] * 1200, [["a"]], "1,200 hypotheses, 1 references"),
        ([], [["a"]], "0 hypotheses, 1 references"),
        (["a"], [["a"], ["a", "b"]], "1 hypotheses, 2 references"),
        ([], [[]], "nothing to score"),
    ],
)
def test_unusable_lines_are_refused(hypotheses: list[str], references: list[list[str]], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        score(hypotheses, references, "13a")
    assert caught.value.code == ExitCode.DATA


def test_extremes() -> None:
    same = ["the same four words", "and again the same words"]
    bleu, chrf, ratio = score(same, [same], "13a")
    assert (round(bleu.score, 9), chrf.score, ratio) == (100.0, 100.0, 1.0)
    nothing, _, ratio = score(["", ""], [same], "13a")
    assert (nothing.score, ratio) == (0.0, 0.0)
    assert score([""], [[""]], "13a")[0].score == 0.0
    # So small that some bootstrap samples score 0, where sacreBLEU's own bootstrap fails.
    poor = score(["x", "a", "y", "z"], [["b c d e", "a b c d", "f", "g"]], "13a")
    assert all(0 <= found.ci < 50 for found in poor[:2])
    folded, _, _ = score([line.upper() for line in same], [same], "13a")
    assert folded.score < 100


def test_a_report_is_on_the_translators_own_output(trained: TrainedModel, sentences: list[str]) -> None:
    options = trained.generation.decode.with_options(beam_size=1, batch_tokens=200)
    translator = Translator(trained, options, Precision(torch.float32, torch.device("cpu")))
    test_set = TestSet("test", [*sentences[:6], ""], [sentences[:7]], None, "de")
    translated = translate_set(translator, test_set, "runs/my/model")
    assert translated.hypotheses == [each.tgt for each in translator.translate(test_set.sources)]
    report = judge(test_set, translated, Parts())
    bleu, chrf, ratio = score(translated.hypotheses, [sentences[:7]], "13a")
    assert (report.bleu, report.chrf, report.length_ratio) == (bleu, chrf, ratio)
    assert (report.model, report.num_sentences, report.num_empty) == ("runs/my/model", 7, 1)
    assert report.tokens_per_second * report.seconds == pytest.approx(translated.num_tokens)


def test_a_report_as_json_and_as_text() -> None:
    report = Report(
        None, 1000, Score(41.23456, 0.789, "sig:b"), Score(62.5, 0.4, "sig:c"), 0.98765, 0.0, 0.0, num_empty=3
    )
    assert json.loads(report.to_json()) == {
        "model": None,
        "num_sentences": 1000,
        "bleu": {"score": 41.23456, "ci": 0.789, "signature": "sig:b"},
        "chrf": {"score": 62.5, "ci": 0.4, "signature": "sig:c"},
        "length_ratio": 0.98765,
        "seconds": 0.0,
        "tokens_per_second": 0.0,
    }
    assert "\n" not in report.to_json()
    assert report.to_text().splitlines() == [
        "BLEU    41.23 ± 0.79   sig:b",
        "chrF2   62.50 ± 0.40   sig:c",
        "1,000 sentences, 3 empty, length ratio 0.988",
    ]
