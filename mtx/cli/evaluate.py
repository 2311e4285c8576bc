"""`mtx evaluate`: score a model or a file of translations."""

import math
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from mtx.cli.options import (
    RUNS,
    DeviceOption,
    ModelsOption,
    PrecisionOption,
    load_translator,
    path_option,
    with_decode_flags,
)
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import STANDARD, input_lines, input_name, new_text_file, print_line, refuse_overwriting, warn
from mtx.errors import ExitCode, UserError, escape_controls

if TYPE_CHECKING:
    from mtx.decode.translator import Translator
    from mtx.evaluate import Report

TGT_LANG_HELP = (
    "Target language, which decides how BLEU cuts words and which test sets are scored; default: the model's, or with "
    "--hyp by the script of --ref."
)


class TestSet(NamedTuple):
    """Sentences to translate and their references."""

    name: str
    sources: list[str]
    references: list[list[str]]  # Each a translation of all sources
    tag: str | None
    language: str | None  # Language of the references; None for the model's


@with_decode_flags("n_best")
def evaluate(
    given: dict[str, Any],
    model: ModelsOption = None,
    src: Annotated[
        Path | None, path_option("Source sentences, - for stdin; default: the test set of the model's run.")
    ] = None,
    ref: Annotated[list[Path] | None, path_option("Reference translations; repeat for several references.")] = None,
    hyp: Annotated[Path | None, path_option("Translations to score instead of a model; - is stdin.")] = None,
    precision: PrecisionOption = "fp32",
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    save_hyp: Annotated[Path | None, path_option("Also write the translations to this file.")] = None,
    minimum: Annotated[list[str] | None, typer.Option("--min", help="Exit with code 1 below a score: bleu=30.")] = None,
    tgt_lang: Annotated[str | None, typer.Option(help=TGT_LANG_HELP)] = None,
) -> None:
    """Score a model on a test set, or a file of translations, by BLEU and chrF2.

    Prints the scores with 95 % confidence intervals and sacreBLEU signatures.

    \b
    mtx evaluate                               the newest model, on the test set of its run
    mtx evaluate -m runs/my --src test.en --ref test.de --json
    mtx evaluate --hyp out.de --ref test.de --min bleu=30
    """
    thresholds = _thresholds(minimum or [])
    ref_files = ref or []
    if hyp is not None and src is not None:
        raise command_line_error("both --hyp and --src given", "Give one of them.")
    if (not ref_files) != (hyp is None and src is None):
        raise command_line_error("--ref is needed with --src or --hyp, and only then", "Give both files.")
    if save_hyp is not None:
        refuse_overwriting(save_hyp, [path for path in (hyp, src, *ref_files) if path is not None])
    with new_text_file(save_hyp) if save_hyp is not None else nullcontext() as saved:
        from mtx.evaluate import Report, choose_bleu_tokenizer, language_notes, report_on, script_notes

        if hyp is not None:
            hypotheses, references = _parallel_files(hyp, ref_files)
            languages = [_language_of_file(tgt_lang, references)]
            report = report_on(hypotheses, references, choose_bleu_tokenizer(languages[0]))
            firsts = references[:1]
        else:
            from mtx.checkpoint.model_folder import find_model

            folders = [find_model(each, RUNS) for each in model or ()] or [find_model(None, RUNS)]
            folder = folders[0]
            if src is not None:
                sets = [TestSet(input_name(src), *_parallel_files(src, ref_files), given.get("tag"), tgt_lang)]
            else:
                sets = _recorded_test_sets(folder, save_hyp, given.get("tag"), tgt_lang)
            options = {"with_scores": False, **given, "tag": sets[0].tag}
            translator = load_translator(folders, options, precision, device)
            if src is not None and sets[0].tag is None:
                sets = [sets[0]._replace(tag=_tag_into(translator, tgt_lang))]
            name = " + ".join(map(str, folders))
            reports, translated = zip(*(_score(translator, each, name) for each in sets), strict=True)
            report, hypotheses = Report.mean_of(reports), list(chain.from_iterable(translated))
            references = [list(lines) for each in sets for lines in each.references]
            languages = [each.language or translator.trained.language_of(each.tag) for each in sets]
            firsts = [each.references[0] for each in sets]
        if saved is not None:
            saved.writelines(line.encode() + b"\n" for line in hypotheses)
    warn(*language_notes((), list(filter(None, languages))), *chain(*map(script_notes, languages, firsts)))
    _warn_if_tokenized(hypotheses, references)
    print_line(report.to_json() if as_json else report.to_text())
    for name, least in thresholds.items():
        score = getattr(report, name).score
        if score < least:
            what = f"{name} {score:.2f} is below {least:g}"
            raise UserError(ExitCode.CHECK_FAILED, what, where="--min", do="Train longer, or lower --min.")


def _parallel_files(file: Path, references: list[Path]) -> tuple[list[str], list[list[str]]]:
    """Read a file of sources or hypotheses, and its references.

    Raises:
        UserError: (DATA) their numbers of lines differ, or one cannot be read.
    """
    if [file, *references].count(STANDARD) > 1:
        raise command_line_error("stdin (-) given for two files", "Give one of them a name.")
    lines, *others = (list(chain.from_iterable(input_lines(path))) for path in (file, *references))
    for path, other in zip(references, others, strict=True):
        if len(other) != len(lines):
            what = f"{input_name(file)} has {len(lines):,} lines, {input_name(path)} {len(other):,}"
            raise UserError(ExitCode.DATA, what, do="Give one reference per line.")
    return lines, others


def _tag_into(translator: "Translator", tgt_lang: str | None) -> str | None:
    """The only tag of a model into a language, which is printed; None if there are several."""
    from mtx.text.languages import is_same_language

    trained = translator.trained
    tags = [tag for tag in trained.tokenizer.tags if tgt_lang and is_same_language(tgt_lang, trained.language_of(tag))]
    if len(tags) != 1 or len(trained.tokenizer.tags) == 1:
        return None
    print(f"mtx: translating with --tag {tags[0]}, the one into {tgt_lang}", file=sys.stderr)
    return tags[0]


def _language_of_file(tgt_lang: str | None, references: list[list[str]]) -> str | None:
    """`tgt_lang`, or else the language by the script of `references`, if BLEU depends on it. Print the latter."""
    from mtx.evaluate import scored_language

    language = scored_language(tgt_lang, chain.from_iterable(references))
    if language != tgt_lang:
        what = f"by their script, the references are in {language}; BLEU cuts words accordingly"
        print(f"mtx: {what}. Give --tgt-lang for another language.", file=sys.stderr)
    return language


def _recorded_test_sets(folder: Path, output: Path | None, tag: str | None, tgt_lang: str | None) -> list[TestSet]:
    """Read the test sets in the config of the model's run; if there are several, those for `tag` and `tgt_lang`.

    Raises:
        UserError: there is none, or `output` is one of their files (USAGE); one cannot be read (DATA).
    """
    from mtx.config.load import load_config
    from mtx.data.sources.read import reader, relocated, usable_pairs
    from mtx.text.languages import is_same_language

    config_path = folder.parent / "config.yaml"
    data = load_config(config_path, []).data if os.path.isfile(config_path) else None
    if data is None or not data.test:
        what, do = "the run of this model has no test set", "Give --src FILE and --ref FILE."
        raise UserError(ExitCode.USAGE, what, where=str(folder), do=do)
    languages = {source: data.languages_of(source)[1] for source in data.test}
    chosen = [source for source in data.test if tag in (None, source.tag)] or list(data.test)
    if tgt_lang is not None and len(chosen) > 1:
        chosen = [source for source in chosen if is_same_language(tgt_lang, languages[source])]
        if not chosen:
            do = f"Give one of {', '.join(dict.fromkeys(languages.values()))}, or --src FILE and --ref FILE."
            raise UserError(ExitCode.USAGE, f"no test set of the run is in {tgt_lang}", where=str(folder), do=do)
    sets = []
    for recorded in chosen:
        source = relocated(recorded, folder.absolute().parent)
        if source != recorded:
            found = " and ".join(escape_controls(str(path)) for path in reader(source).files())
            print(f"mtx: the test set of the run was moved; found {found}", file=sys.stderr)
        if output is not None:
            refuse_overwriting(output, reader(source).files())
        pairs = list(usable_pairs(source, data.src_lang, data.tgt_lang))
        sides = [src for src, _ in pairs], [[tgt for _, tgt in pairs]]
        sets.append(TestSet(reader(source).label, *sides, tag or source.tag, tgt_lang or languages[recorded]))
    return sets


def _score(translator: "Translator", test_set: TestSet, model: str) -> "tuple[Report, list[str]]":
    """Translate a test set; return its scores and the translations."""
    from mtx.evaluate import choose_bleu_tokenizer
    from mtx.evaluate import evaluate as run_evaluation

    _, sources, references, tag, language = test_set
    translator.set_tag(tag)
    tokenizer = choose_bleu_tokenizer(language or translator.tgt_lang, references[0])
    report, translations = run_evaluation(translator, sources, references, tokenizer, model)
    return replace(report, name=test_set.name), [translation.tgt for translation in translations]


def _warn_if_tokenized(hypotheses: list[str], references: list[list[str]]) -> None:
    """Warn if a side looks tokenized, because only scores of plain text are comparable."""
    from mtx.evaluate import looks_tokenized

    sides = [("hypotheses", hypotheses), *(("references", lines) for lines in references)]
    for name in dict.fromkeys(name for name, lines in sides if looks_tokenized(lines)):
        warn(f"most {name} look tokenized; only scores of plain text are comparable")


def _thresholds(given: list[str]) -> dict[str, float]:
    """Parse `--min bleu=30,chrf=55`."""
    thresholds = {}
    for item in (item for text in given for item in text.split(",")):
        name, _, value = item.partition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            thresholds[name] = math.nan
        if name not in ("bleu", "chrf") or not math.isfinite(thresholds[name]):
            raise command_line_error(f"invalid --min {item}", "Write bleu=30 or chrf=55.")
    return thresholds
