"""`mtx evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from mtx.cli.options import (
    RUNS,
    BatchOption,
    BeamOption,
    DeviceOption,
    ModelOption,
    PenaltyOption,
    PrecisionName,
    PrecisionOption,
    load_translator,
    print_line,
)
from mtx.cli.reporting import reported
from mtx.errors import ExitCode, UserError


@reported
def evaluate(
    model: ModelOption = None,
    src: Annotated[
        Path | None, typer.Option("--src", help="Source sentences; default: the test set of the model's run.")
    ] = None,
    ref: Annotated[Path | None, typer.Option("--ref", help="Their reference translations.")] = None,
    hyp: Annotated[Path | None, typer.Option("--hyp", help="Score these translations; no model is asked.")] = None,
    beam: BeamOption = None,
    length_penalty: PenaltyOption = None,
    batch_tokens: BatchOption = 8192,
    precision: PrecisionOption = PrecisionName.fp32,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    save_hyp: Annotated[Path | None, typer.Option("--save-hyp", help="Write the translations to this file.")] = None,
    minimum: Annotated[
        list[str] | None, typer.Option("--min", help="Exit 1 if a score is lower, such as bleu=30.")
    ] = None,
    tgt_lang: Annotated[str, typer.Option("--tgt-lang", help="With --hyp: language of the references.")] = "en",
) -> None:
    """Score a model on a test set, or a file of translations: BLEU and chrF2 with signatures and 95 % intervals.

    \b
    mtx evaluate                               the newest model on the test set of its run
    mtx evaluate -m runs/my --src test.en --ref test.de --json
    mtx evaluate --hyp out.de --ref test.de --min bleu=30
    """
    thresholds = _thresholds(minimum or [])
    if hyp is not None and src is not None:
        raise UserError(ExitCode.USAGE, "both --hyp and --src given", where="command line", do="Give one of them.")
    if (ref is None) != (hyp is None and src is None):
        raise UserError(ExitCode.USAGE, "--ref goes with --src or --hyp", where="command line", do="Give both files.")
    from mtx.data.lines import read_lines
    from mtx.evaluate import Report, score
    from mtx.evaluate import evaluate as run_evaluation

    if hyp is not None and ref is not None:
        hypotheses = list(read_lines(hyp))
        bleu, chrf, ratio = score(hypotheses, list(read_lines(ref)), tgt_lang)
        report = Report(None, len(hypotheses), bleu, chrf, ratio, 0.0, 0.0)
    else:
        from mtx.checkpoint.model_folder import find_model

        folder = find_model(model, RUNS)
        sources, references = _test_set(folder, src, ref)
        translator = load_translator(folder, beam, length_penalty, batch_tokens, precision, device)
        report, translations = run_evaluation(translator, sources, references, str(folder))
        hypotheses = [translation.tgt for translation in translations]
    if save_hyp is not None:
        from mtx.checkpoint.files import write_file

        write_file(save_hyp, "".join(line + "\n" for line in hypotheses).encode())
    print_line(report.to_json() if as_json else report.to_text())
    found = {"bleu": report.bleu.score, "chrf": report.chrf.score}
    for name, least in thresholds.items():
        if found[name] < least:
            raise UserError(
                ExitCode.ANSWER_IS_NO,
                f"{name} {found[name]:.2f} is below {least:g}",
                where="--min",
                do="Train longer or lower it.",
            )


def _test_set(folder: Path, src: Path | None, ref: Path | None) -> tuple[list[str], list[str]]:
    """The files given, or the test set that the run around the model folder recorded."""
    from mtx.config.reading import load_config
    from mtx.data.corpus import read_pairs
    from mtx.data.lines import read_lines

    if src is not None and ref is not None:
        sources, references = list(read_lines(src)), list(read_lines(ref))
        if len(sources) != len(references):
            what = f"{src} has {len(sources):,} lines, {ref} {len(references):,}"
            raise UserError(ExitCode.DATA, what, do="Give one reference a line for each source.")
        return sources, references
    config_path = folder.parent / "config.yaml"
    data = load_config(config_path, []).data if config_path.is_file() else None
    if data is None or data.test is None:
        what, do = "no test set is recorded beside this model", "Give --src FILE and --ref FILE."
        raise UserError(ExitCode.USAGE, what, where=str(folder), do=do)
    pairs = list(read_pairs(data.test, data.src_lang, data.tgt_lang))
    return [source for source, _ in pairs], [reference for _, reference in pairs]


def _thresholds(given: list[str]) -> dict[str, float]:
    """The scores of `--min bleu=30,chrf=55`."""
    thresholds = {}
    for item in (item for text in given for item in text.split(",")):
        name, _, value = item.partition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            name = ""
        if name not in ("bleu", "chrf"):
            raise UserError(
                ExitCode.USAGE, f"unusable --min {item}", where="command line", do="Write bleu=30 or chrf=55."
            )
    return thresholds
