"""`mtx evaluate`: score a model or a file of translations."""

import math
import sys
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from mtx.cli.streams import input_lines, input_name, new_text_file, print_line, refuse_overwriting, warn
from mtx.cli.test_sets import TestSet, given_test_sets, recorded_test_sets, stored_test_set
from mtx.errors import ExitCode, UserError

if TYPE_CHECKING:
    from mtx.decode.translator import Translator
    from mtx.evaluate import Report

TGT_LANG_HELP = (
    "Target language, which decides how BLEU cuts words and which test sets are scored; default: the model's, or with "
    "--hyp by the script of --ref."
)


@with_decode_flags("n_best", "samples")
def evaluate(
    given: dict[str, Any],
    model: ModelsOption = None,
    src: Annotated[
        list[Path] | None,
        path_option(
            "Source sentences, - for stdin; repeat for several sets. Default: the test sets of the model's run."
        ),
    ] = None,
    ref: Annotated[
        list[Path] | None, path_option("Reference translations; repeat for several references, set by set.")
    ] = None,
    hyp: Annotated[
        list[Path] | None,
        path_option("Translations to score instead of a model, - for stdin; repeat for several sets."),
    ] = None,
    test_set: Annotated[
        list[str] | None,
        typer.Option("--test-set", help="A set in sacreBLEU's cache, such as wmt17:en-de; may be repeated."),
    ] = None,
    baseline: Annotated[
        Path | None, path_option("Translations or a model to compare with: better, worse, or cannot tell.")
    ] = None,
    require: Annotated[
        Literal["better", "not-worse"] | None, typer.Option(help="Exit with code 1 unless so against --baseline.")
    ] = None,
    ter: Annotated[bool, typer.Option("--ter", help="Also print the translation edit rate; --baseline does.")] = False,
    tokenized: Annotated[
        bool, typer.Option("--tokenized", help="Also print BLEU of text tokenized by the rules of Moses.")
    ] = False,
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="Also print BLEU of lower-cased text; with --tokenized of such text.")
    ] = False,
    breakdown: Annotated[
        bool, typer.Option("--breakdown", help="Also print where the translations are good and bad.")
    ] = False,
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
    hyps, srcs, refs, named = hyp or [], src or [], ref or [], test_set or []
    if hyps and srcs and baseline is None and not breakdown:
        raise command_line_error("both --hyp and --src given", "Give one of them.")
    if (not refs) != ((not hyps and not srcs) or bool(named)):
        raise command_line_error("--ref is needed with --src or --hyp, and only then", "Give both files.")
    if named and (srcs or len(hyps) not in (0, len(named))):
        raise command_line_error("--test-set has its own sources", "Give each --test-set its --hyp, or a model.")
    if require is not None and baseline is None:
        raise command_line_error("--require needs a --baseline", "Give the translations or the model to compare with.")
    if save_hyp is not None:
        refuse_overwriting(save_hyp, [path for path in (*hyps, *srcs, *refs, baseline) if path is not None])
    tag = given.get("tag")
    with new_text_file(save_hyp) if save_hyp is not None else nullcontext() as saved:
        from mtx.evaluate import Report, choose_bleu_tokenizer, language_notes, report_on, script_notes

        folder = None
        if not hyps:
            from mtx.checkpoint.model_folder import find_model

            folders = [find_model(each, RUNS) for each in model or ()] or [find_model(None, RUNS)]
            folder = folders[0]
        if named:
            sets = [stored_test_set(*each, tag) for each in zip_longest(named, hyps)]
        elif folder is None or srcs:
            sets = given_test_sets(hyps, srcs, refs, tag, tgt_lang)
        else:
            sets = recorded_test_sets(folder, save_hyp, tag, tgt_lang)
        options = {"with_scores": False, **given}
        if folder is None:
            sets = [each._replace(language=_language_of_file(each.language, each.references)) for each in sets]
            tokenizers = [choose_bleu_tokenizer(each.language) for each in sets]
            translated = [each.hypotheses or [] for each in sets]
            reports = [
                replace(report_on(lines, each.references, tokenizer), name=each.name)
                for lines, each, tokenizer in zip(translated, sets, tokenizers, strict=True)
            ]
        else:
            translator = load_translator(folders, {**options, "tag": sets[0].tag}, precision, device)
            if srcs or named:
                sets = [each._replace(tag=each.tag or _tag_into(translator, each.language)) for each in sets]
            sets = [each._replace(language=each.language or translator.trained.language_of(each.tag)) for each in sets]
            scored = [_score(translator, each, " + ".join(map(str, folders))) for each in sets]
            translator.close()
            reports, translated = [report for report, _ in scored], [lines for _, lines in scored]
        if ter or baseline is not None:
            reports = [_with_ter(*each) for each in zip(reports, translated, sets, strict=True)]
        if baseline is not None:
            others = _baseline_translations(baseline, sets, options, precision, device)
            reports = [_compared(*each, baseline) for each in zip(reports, translated, others, sets, strict=True)]
        if tokenized or lowercase:
            reports = [
                _with_folded_bleu(*each, tokenized, lowercase) for each in zip(reports, translated, sets, strict=True)
            ]
        if breakdown:
            src_lang = translator.trained.src_lang if folder is not None else "und"
            reports = [_broken_down(*each, src_lang) for each in zip(reports, translated, sets, strict=True)]
        report, hypotheses = Report.mean_of(reports), list(chain.from_iterable(translated))
        if saved is not None:
            saved.writelines(line.encode() + b"\n" for line in hypotheses)
    languages = [each.language for each in sets]
    warn(*language_notes((), list(filter(None, languages))))
    warn(*chain.from_iterable(script_notes(each.language, each.references[0]) for each in sets))
    _warn_if_tokenized(hypotheses, [lines for each in sets for lines in each.references])
    print_line(report.to_json() if as_json else report.to_text())
    for name, least in thresholds.items():
        score = getattr(report, name).score
        if score < least:
            what = f"{name} {score:.2f} is below {least:g}"
            raise UserError(ExitCode.CHECK_FAILED, what, where="--min", do="Train longer, or lower --min.")
    for each in reports:
        verdict = each.comparison.verdict if each.comparison is not None else None
        if (require == "better" and verdict != "better") or (require == "not-worse" and verdict == "worse"):
            what = f"against {baseline}: {verdict}"
            raise UserError(ExitCode.CHECK_FAILED, what, where=f"--require, {each.name}", do="Keep the baseline.")


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


def _score(translator: "Translator", test_set: TestSet, model: str) -> "tuple[Report, list[str]]":
    """Translate a test set; return its scores and the translations."""
    from mtx.evaluate import evaluate as run_evaluation

    translator.set_tag(test_set.tag)
    tokenizer = _bleu_tokenizer(test_set)
    report, translations = run_evaluation(translator, test_set.sources, test_set.references, tokenizer, model)
    return replace(report, name=test_set.name), [translation.tgt for translation in translations]


def _bleu_tokenizer(test_set: TestSet) -> str:
    from mtx.evaluate import choose_bleu_tokenizer

    return choose_bleu_tokenizer(test_set.language, test_set.references[0])


def _with_ter(report: "Report", hypotheses: list[str], test_set: TestSet) -> "Report":
    from mtx.judge.statistics import ter

    return report.with_metric(ter(hypotheses, test_set.references, _bleu_tokenizer(test_set)))


def _with_folded_bleu(
    report: "Report", hypotheses: list[str], test_set: TestSet, tokenized: bool, lowercase: bool
) -> "Report":
    from mtx.judge.statistics import folded_bleu

    moses_lang = (test_set.language or "en") if tokenized else None
    references, tokenizer = test_set.references, _bleu_tokenizer(test_set)
    return report.with_metric(folded_bleu(hypotheses, references, tokenizer, moses_lang, lowercase))


def _compared(
    report: "Report", hypotheses: list[str], others: list[str], test_set: TestSet, baseline: Path
) -> "Report":
    """Compare the translations of a test set with those of the baseline, `others`."""
    from mtx.judge.compare import compare
    from mtx.judge.statistics import bleu_and_chrf, ter

    given = others, test_set.references, _bleu_tokenizer(test_set)
    num_different = sum(map(str.__ne__, hypotheses, others))
    comparison = compare(report.statistics, (*bleu_and_chrf(*given), ter(*given)), str(baseline), num_different)
    return replace(report, comparison=comparison)


def _broken_down(report: "Report", hypotheses: list[str], test_set: TestSet, src_lang: str) -> "Report":
    from mtx.judge.breakdown import break_down

    if len(test_set.sources) != len(hypotheses):
        raise command_line_error("--breakdown needs the sources", "Add --src FILE.")
    given = report.statistics, test_set.sources, test_set.references, hypotheses
    return replace(report, breakdown=break_down(*given, src_lang, test_set.language or "und"))


def _baseline_translations(
    baseline: Path, sets: list[TestSet], options: dict[str, Any], precision: str, device: str
) -> list[list[str]]:
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
        return [list(islice(remaining, size)) for size in sizes]
    if any(size > len(each.sources) for size, each in zip(sizes, sets, strict=True)):
        raise command_line_error("a model as --baseline needs the sources", "Add --src FILE.")
    translator, translated = load_translator([baseline], options, precision, device), []
    for each in sets:
        translator.set_tag(each.tag if each.tag in translator.trained.tokenizer.tags else None)
        translated.append([translation.tgt for translation in translator.translate(each.sources)])
    translator.close()
    return translated


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
