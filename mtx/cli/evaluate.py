"""`mtx evaluate`: score a model or a file of translations."""

import math
import os
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtx.cli.options import (
    RUNS,
    DeviceOption,
    ModelsOption,
    PrecisionOption,
    flag_of,
    load_translator,
    path_option,
    warn_of_missing_tag,
    with_decode_flags,
)
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import STANDARD, new_text_file, print_line, refuse_overwriting, warn
from mtx.errors import ExitCode, UserError

if TYPE_CHECKING:
    from mtx.judge.test_set import TestSet

TGT_LANG_HELP = (
    "Target language, which decides how BLEU cuts words and which test sets are scored; default: the model's, or with "
    "--hyp by the script of --ref."
)
JSON_HELP = "Print one JSON object; options add the keys ter, comparison, breakdown, robustness; several sets, sets."
ROBUST_HELP = (
    "Also print the scores lost on disturbed sources: caps, title, lower, typos, punct, spaces, joined (two lines in "
    "one), several separated by commas, or all."
)


@with_decode_flags("n_best", "samples", "prefix")
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
        Literal["better", "not-worse"] | None, typer.Option(help="Exit with code 1 unless this is the verdict.")
    ] = None,
    ter: Annotated[
        bool, typer.Option("--ter", help="Also print the translation edit rate, as --baseline does.")
    ] = False,
    tokenized: Annotated[
        bool, typer.Option("--tokenized", help="Also print tokenized BLEU, by the Moses tokenizer.")
    ] = False,
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="Also print lower-cased BLEU; with --tokenized, of tokenized text.")
    ] = False,
    breakdown: Annotated[
        bool,
        typer.Option("--breakdown", help="Also print scores by kind of sentence, and signs of wrong translations."),
    ] = False,
    robust: Annotated[list[str] | None, typer.Option(help=ROBUST_HELP)] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Find beam and length penalty on the dev set, and store them in the model.")
    ] = False,
    precision: PrecisionOption = "fp32",
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    save_hyp: Annotated[Path | None, path_option("Also write the translations to this file.")] = None,
    page: Annotated[
        Path | None, path_option("Also write an HTML page: scores, plots, and a table of all sentences.", "--report")
    ] = None,
    minimum: Annotated[list[str] | None, typer.Option("--min", help="Exit with code 1 below a score: bleu=30.")] = None,
    tgt_lang: Annotated[str | None, typer.Option(help=TGT_LANG_HELP)] = None,
) -> None:
    """Score a model on a test set, or a file of translations, by BLEU and chrF2.

    Prints the scores with 95 % confidence intervals and sacreBLEU signatures.

    \b
    mtx evaluate                               the newest model, on the test set of its run
    mtx evaluate -m runs/my --src test.en --ref test.de --json
    mtx evaluate --hyp out.de --ref test.de --min bleu=30
    mtx evaluate -m runs/new --baseline runs/old --report page.html
    mtx evaluate --tune                        stores the best beam and length penalty on the dev set of the run
    """
    thresholds, kinds = _thresholds(minimum or []), _disturbances(robust or [])
    hyps, srcs, refs, named = hyp or [], src or [], ref or [], test_set or []
    if hyps and srcs and baseline is None and page is None and not breakdown:
        raise command_line_error("both --hyp and --src given", "Give one of them.")
    if (not refs) != ((not hyps and not srcs) or bool(named)):
        raise command_line_error("--ref is needed with --src or --hyp, and only then", "Give both files.")
    if named and (srcs or len(hyps) not in (0, len(named))):
        raise command_line_error("--test-set has its own sources", "Give each --test-set its --hyp, or a model.")
    if [*hyps, *srcs, *refs, baseline].count(STANDARD) > 1:
        raise command_line_error("stdin (-) given for two files", "Give one of them a name.")
    # --precision and --device are let through: a script may give them always.
    unused = [flag_of(name) for name in given] if hyps and not (baseline is not None and baseline.is_dir()) else []
    for flag in (["--model"] if hyps and model else []) + unused:
        raise command_line_error(f"both --hyp and {flag} given", f"Leave out {flag}: --hyp is not translated again.")
    if kinds and hyps:
        raise command_line_error("--robust translates disturbed sources", "Give a model and --src instead of --hyp.")
    if require is not None and baseline is None:
        raise command_line_error("--require needs a --baseline", "Give the translations or the model to compare with.")
    if tune:
        from mtx.cli.tune import refuse_beside_tune, tune_model

        beside = {"--hyp": hyps, "--test-set": named, "--baseline": baseline, "--require": require, "--ter": ter}
        beside |= {"--tokenized": tokenized, "--lowercase": lowercase, "--breakdown": breakdown, "--report": page}
        beside |= {"--robust": robust, "--save-hyp": save_hyp, "--min": minimum, "a second --model": (model or [])[1:]}
        refuse_beside_tune(beside, given)
        (folder,) = _model_folders(model or [])
        tune_model(folder, srcs, refs, given, tgt_lang, precision, device, as_json=as_json)
        return
    outputs = [each for each in (save_hyp, page) if each is not None]
    if STANDARD in outputs or len({os.path.realpath(each) for each in outputs}) < len(outputs):
        raise command_line_error("--save-hyp and --report need a file each", "Give file names.")
    for output in outputs:
        refuse_overwriting(output, [path for path in (*hyps, *srcs, *refs, baseline) if path is not None])
    tag, options = given.get("tag"), {"with_scores": False, **given}
    # Files are opened before the work, so that an error is reported at once.
    with (
        new_text_file(save_hyp) if save_hyp is not None else nullcontext() as saved,
        new_text_file(page) if page is not None else nullcontext() as page_file,
    ):
        from mtx.cli.systems import robustness_of, translate_by_baseline, with_language_of_file, with_languages_of_model
        from mtx.cli.test_sets import given_test_sets, look_up_in_run, recorded_test_sets, stored_test_set
        from mtx.judge.judgement import Parts, judge
        from mtx.judge.report import Report
        from mtx.judge.test_set import Translated, translate_set

        folders = [] if hyps else _model_folders(model or [])
        if named:
            sets = [stored_test_set(*each, tag) for each in zip_longest(named, hyps)]
        elif hyps or srcs:
            sets = given_test_sets(hyps, srcs, refs, tag, tgt_lang)
        else:
            sets = recorded_test_sets(folders[0], outputs, tag, tgt_lang)
        if hyps:
            sets = [with_language_of_file(each) for each in sets]
            translated = [Translated(each.hypotheses or []) for each in sets]
            if breakdown and not all(each.sources for each in sets):
                raise command_line_error("--breakdown needs the sources", "Add --src FILE.")
        else:
            translator = load_translator(folders, {**options, "tag": sets[0].tag}, precision, device)
            warn_of_missing_tag(translator.trained, sets[0].tag)
            sets = [with_languages_of_model(each, translator, bool(srcs or named)) for each in sets]
            translated = [translate_set(translator, each, " + ".join(map(str, folders))) for each in sets]
            if kinds:
                lost = [robustness_of(translator, *each, kinds) for each in zip(sets, translated, strict=True)]
            translator.close()
        others: list[Translated | None] = [None] * len(sets)
        if baseline is not None:
            others = [*translate_by_baseline(baseline, sets, options, precision, device)]
        explained = breakdown or (page is not None and all(each.sources for each in sets))
        parts = Parts(ter or baseline is not None, tokenized, lowercase, explained, sentences=page is not None)
        seen = look_up_in_run(sets, folders[0].absolute().parent) if explained and folders else [None] * len(sets)
        judged = zip(sets, translated, others, seen, strict=True)
        reports = [judge(each, lines, parts, other, one) for each, lines, other, one in judged]
        if kinds:
            reports = [replace(each, robustness=one) for each, one in zip(reports, lost, strict=True)]
        report = Report.mean_of(reports)
        if saved is not None:
            saved.writelines(line.encode() + b"\n" for each in translated for line in each.hypotheses)
        if page_file is not None:
            from mtx.judge.page import to_html

            page_file.write(to_html(report).encode())
            if not breakdown:
                report = Report.mean_of([replace(each, breakdown=None) for each in reports])
    _warn_of_languages(sets, [line for each in translated for line in each.hypotheses])
    print_line(report.to_json() if as_json else report.to_text())
    for name, least in thresholds.items():
        score = getattr(report, name).score
        if score < least:
            what = f"{name} {score:.2f} is below {least:g}"
            raise UserError(ExitCode.CHECK_FAILED, what, where="--min", do="Train longer, or lower --min.")
    for each in reports:
        verdict = each.comparison.verdict if each.comparison is not None else None
        if (require == "better" and verdict != "better") or (require == "not-worse" and verdict == "worse"):
            what = f"--require {require} is not met: the verdict against {baseline} is {verdict}"
            raise UserError(ExitCode.CHECK_FAILED, what, where=str(each.name), do="Keep the baseline.")


def _model_folders(given: list[Path]) -> list[Path]:
    from mtx.checkpoint.model_folder import find_model

    return [find_model(each, RUNS) for each in given] or [find_model(None, RUNS)]


def _warn_of_languages(sets: "list[TestSet]", hypotheses: list[str]) -> None:
    """Warn of languages and texts for which scores mean less: only scores of plain text are comparable."""
    from mtx.judge.languages import language_notes, looks_tokenized, script_notes

    warn(*language_notes((), [each.language for each in sets if each.language]))
    warn(*chain.from_iterable(script_notes(each.language, each.references[0]) for each in sets))
    sides = [("hypotheses", hypotheses), *(("references", lines) for each in sets for lines in each.references)]
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


def _disturbances(given: list[str]) -> tuple[str, ...]:
    """Parse `--robust caps,typos`."""
    if not given:
        return ()
    from mtx.config.messages import nearest
    from mtx.judge.disturbances import KINDS

    names = [name.strip() for text in given for name in text.split(",")]
    for name in names:
        if name not in (*KINDS, "all"):
            near = nearest(name, KINDS)
            do = f"Did you mean {near}?" if near else f"Give some of {', '.join(KINDS)}, or all."
            raise command_line_error(f"invalid --robust {name}", do)
    return tuple(kind for kind in KINDS if kind in names or "all" in names)
