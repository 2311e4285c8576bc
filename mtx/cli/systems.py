"""The systems that `mtx evaluate` scores and compares: models, and files of translations."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtx.cli.options import load_translator, warn_of_missing_tag
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import input_lines, input_name, warn
from mtx.errors import ExitCode, UserError
from mtx.judge.languages import scored_language
from mtx.judge.robustness import Robustness, measure_robustness
from mtx.judge.test_set import TestSet, Translated, translate_set
from mtx.text.languages import is_same_language

if TYPE_CHECKING:
    from mtx.decode.translator import Translator


def with_language_of_file(test_set: TestSet) -> TestSet:
    """`test_set` with the language by the script of its references, if BLEU depends on it. Print that."""
    language = scored_language(test_set.language, chain.from_iterable(test_set.references))
    if language != test_set.language:
        what = f"by their script, the references are in {language}; BLEU cuts words accordingly"
        print(f"mtx: {what}. Give --tgt-lang for another language.", file=sys.stderr)
    return replace(test_set, language=language)


def with_languages_of_model(test_set: TestSet, translator: "Translator", is_given: bool) -> TestSet:
    """`test_set` with the languages of a model and, if the user has given the set, the only tag into its language."""
    trained, tag = translator.trained, test_set.tag
    if is_given and tag is None:
        tags = [each for each in trained.tokenizer.tags if _is_into(test_set.language, trained.language_of(each))]
        if len(tags) == 1 < len(trained.tokenizer.tags):
            tag = tags[0]
            print(f"mtx: translating with --tag {tag}, the one into {test_set.language}", file=sys.stderr)
    language, src_lang = test_set.language or trained.language_of(tag), test_set.src_lang
    src_lang = trained.src_lang if src_lang == "und" else src_lang
    return replace(test_set, tag=tag, language=language, src_lang=src_lang)


def _is_into(wanted: str | None, language: str) -> bool:
    return wanted is not None and is_same_language(wanted, language)


def translate_by_baseline(
    baseline: Path, sets: Sequence[TestSet], options: dict[str, Any], precision: str, device: str
) -> list[Translated]:
    """The translations of each set by the baseline, which is a model or a file with those of all sets.

    Raises:
        UserError: a model has no sources to translate (USAGE); the file has another number of lines (DATA).
    """
    sizes = [len(each.references[0]) for each in sets]
    if not baseline.is_dir():
        lines = list(chain.from_iterable(input_lines(baseline)))
        if len(lines) != sum(sizes):
            what = f"{input_name(baseline)} has {len(lines):,} lines, the references {sum(sizes):,}"
            raise UserError(ExitCode.DATA, what, where="--baseline", do="Give one translation per line.")
        remaining = iter(lines)
        return [Translated(list(islice(remaining, size)), str(baseline)) for size in sizes]
    if any(size > len(each.sources) for size, each in zip(sizes, sets, strict=True)):
        raise command_line_error("a model as --baseline needs the sources", "Add --src FILE.")
    if sets[0].hypotheses is None:  # or else a tag that is given is for the baseline
        options = {**options, "tag": None}
    translator, translated = load_translator([baseline], options, precision, device), []
    trained = translator.trained
    for each in sets:
        tag = each.tag if each.tag in trained.tokenizer.tags else None
        warn_of_missing_tag(trained, tag)
        src_lang = "und" if trained.tokenizer.tags else trained.src_lang  # which may be others, with tags
        own, wanted = (src_lang, trained.language_of(tag)), (each.src_lang, each.language or "und")
        if any("und" not in pair and not is_same_language(*pair) for pair in zip(own, wanted, strict=True)):
            languages = f"from {trained.src_lang} into {own[1]}, not from {wanted[0]} into {wanted[1]}"
            warn(f"the baseline {baseline} translates {languages} ({each.name})")
        translated.append(translate_set(translator, replace(each, tag=tag), str(baseline)))
    translator.close()
    return translated


def robustness_of(
    translator: "Translator", test_set: TestSet, translated: Translated, kinds: Sequence[str]
) -> Robustness:
    """The scores that a model loses on a test set when its sources are disturbed."""

    def translate(lines: list[str]) -> list[str]:
        return translate_set(translator, replace(test_set, sources=lines), "").hypotheses

    return measure_robustness(test_set, translated.hypotheses, kinds, translate)
