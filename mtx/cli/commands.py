"""`mtx train`, `mtx translate`, `mtx evaluate`."""

import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from mtx.cli.reporting import reported
from mtx.errors import ExitCode, UserError

if TYPE_CHECKING:
    from mtx.decode.translator import Translation, Translator

RUNS = Path("runs")

TEXT_MARK = "\0"
"""Stands before a sentence that begins with a dash; no argument of a process can hold it otherwise."""


class Resume(StrEnum):
    """Whether a run that is there already is continued."""

    auto = "auto"
    never = "never"


class Format(StrEnum):
    """What `translate` prints."""

    text = "text"
    jsonl = "jsonl"


class PrecisionName(StrEnum):
    """Arithmetic of decoding."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


ModelOption = Annotated[
    Path | None, typer.Option("--model", "-m", help="Model folder or run folder; default: the newest under ./runs.")
]
BeamOption = Annotated[
    int | None, typer.Option("--beam", help="Hypotheses alive at each step; 1 is greedy.", min=1, max=1000)
]
PenaltyOption = Annotated[
    float | None, typer.Option("--length-penalty", help="Rank by log-probability / length ** this.", min=0.0, max=10.0)
]
BatchOption = Annotated[int, typer.Option("--batch-tokens", help="Beams x padded source tokens in a batch.", min=1)]
PrecisionOption = Annotated[PrecisionName, typer.Option("--precision", help="Arithmetic; fp32 is exact.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


@reported
def train(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as train.lr=1e-3.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file; default: the embedded demo.")
    ] = None,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", help="Default: runs/ and the config's name.")] = None,
    resume: Annotated[Resume, typer.Option(help="Continue a run that is there, or refuse to.")] = Resume.auto,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check config and data, say what would be done, write nothing.")
    ] = False,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = None,
) -> None:
    """Train a tokenizer and a Transformer; prints the model folder.

    \b
    mtx train                                  the embedded demo, some minutes on a CPU
    mtx train --config my.yaml                 your data; the same command continues a stopped run
    mtx train --config my.yaml train.lr=5e-4   with another setting
    """
    from mtx.config.reading import load_config

    overridden = [*(overrides or []), *([f"train.device={device}"] if device is not None else [])]
    settings = load_config(config, overridden)
    folder = run_dir or RUNS / (config.stem if config is not None else "demo")

    from mtx.runtime import log_to_stderr
    from mtx.train.loop import train as run_training

    log_to_stderr()
    model = run_training(settings, folder, resume=resume.value, dry_run=dry_run)
    if not dry_run:
        print(model)


@reported
def translate(
    sentences: Annotated[
        list[str] | None, typer.Argument(help="Sentences; default: lines of --input or stdin.")
    ] = None,
    model: ModelOption = None,
    input_path: Annotated[
        Path | None, typer.Option("--input", "-i", help="File with one sentence a line; - is stdin.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")] = None,
    beam: BeamOption = None,
    length_penalty: PenaltyOption = None,
    n_best: Annotated[
        int, typer.Option("--n-best", help="Translations of each sentence; over 1 needs jsonl.", min=1)
    ] = 1,
    output_format: Annotated[
        Format, typer.Option("--format", help="Lines of text, or JSON with scores.")
    ] = Format.text,
    batch_tokens: BatchOption = 8192,
    precision: PrecisionOption = PrecisionName.fp32,
    device: DeviceOption = "auto",
) -> None:
    """Translate sentences: n lines in, n lines out, in order, each as soon as it is ready.

    \b
    mtx translate "Two dogs play."             with the newest model under ./runs
    mtx translate -m runs/my -i in.txt -o out.txt
    cat in.txt | mtx translate --format jsonl --n-best 3
    """
    if n_best > 1 and output_format is Format.text:
        raise UserError(
            ExitCode.USAGE, "--n-best over 1 needs --format jsonl", where="command line", do="Add --format jsonl."
        )
    if sentences and input_path is not None:
        raise UserError(
            ExitCode.USAGE, "both sentences and --input given", where="command line", do="Give one of them."
        )
    if (
        output is not None
        and input_path is not None
        and output.exists()
        and input_path.exists()
        and output.samefile(input_path)
    ):
        raise UserError(ExitCode.USAGE, "--output is the --input file", where=str(output), do="Give another file.")
    translator = _load_translator(model, beam, length_penalty, batch_tokens, precision, device, n_best)
    translations = (t for group in _groups_of_lines(sentences, input_path) for t in translator.translate(group))
    if output is None:
        for translation in translations:
            _print(_formatted(translation, output_format))
    else:
        from mtx.checkpoint.sealed import write_file

        write_file(output, "".join(_formatted(t, output_format) + "\n" for t in translations).encode())


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
    from mtx.evaluate import Report
    from mtx.evaluate import evaluate as run_evaluation
    from mtx.evaluate import score

    if hyp is not None and ref is not None:
        hypotheses = list(read_lines(hyp))
        bleu, chrf, ratio = score(hypotheses, list(read_lines(ref)), tgt_lang)
        report = Report(None, len(hypotheses), bleu, chrf, ratio, 0.0, 0.0)
    else:
        from mtx.checkpoint.model_folder import find_model

        folder = find_model(model, RUNS)
        sources, references = _test_set(folder, src, ref)
        translator = _load_translator(folder, beam, length_penalty, batch_tokens, precision, device)
        report, translations = run_evaluation(translator, sources, references, str(folder))
        hypotheses = [translation.tgt for translation in translations]
    if save_hyp is not None:
        from mtx.checkpoint.sealed import write_file

        write_file(save_hyp, "".join(line + "\n" for line in hypotheses).encode())
    _print(report.to_json() if as_json else report.to_text())
    found = {"bleu": report.bleu.score, "chrf": report.chrf.score}
    for name, least in thresholds.items():
        if found[name] < least:
            raise UserError(
                ExitCode.ANSWER_IS_NO,
                f"{name} {found[name]:.2f} is below {least:g}",
                where="--min",
                do="Train longer or lower it.",
            )


def _load_translator(
    model: Path | None,
    beam: int | None,
    length_penalty: float | None,
    batch_tokens: int,
    precision: PrecisionName,
    device: str,
    n_best: int = 1,
) -> "Translator":
    """The translator that the options ask for; what they leave open the model folder says."""
    from mtx.checkpoint.model_folder import find_model, load_model
    from mtx.decode.translator import Translator
    from mtx.runtime import choose_device, choose_precision, use_threads

    use_threads()
    arithmetic = choose_precision(precision.value, choose_device(device))
    trained = load_model(find_model(model, RUNS))
    trained.model.to(arithmetic.device)
    decode = trained.generation.decode
    beam_size = max(beam or decode.beam_size, n_best)
    if beam_size > trained.tokenizer.tgt_vocab_size:
        print(f"mtx: beam lowered to the vocabulary, {trained.tokenizer.tgt_vocab_size}", file=sys.stderr)
    return Translator(
        trained,
        arithmetic,
        beam_size=beam_size,
        length_penalty=decode.length_penalty if length_penalty is None else length_penalty,
        batch_tokens=batch_tokens,
        n_best=n_best,
    )


def _groups_of_lines(sentences: list[str] | None, input_path: Path | None) -> Iterator[list[str]]:
    """The lines to translate, in groups as they arrive."""
    from mtx.data.lines import stream_lines

    if sentences:
        texts = [sentence.removeprefix(TEXT_MARK) for sentence in sentences]
        for number, text in enumerate(texts, start=1):
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise UserError(ExitCode.DATA, "not UTF-8", where=f"sentence {number}", do="Give text in UTF-8.")
        # An argument is a line, whatever is in it.
        yield [" ".join(text.split("\n")) for text in texts]
    elif input_path is not None and str(input_path) != "-":
        with _opened(input_path) as stream:
            yield from stream_lines(stream, str(input_path))
    else:
        yield from stream_lines(sys.stdin.buffer, "stdin")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(
            ExitCode.DATA, f"cannot read: {error.strerror}", where=str(path), do="Give a file of text."
        ) from error


def _formatted(translation: "Translation", output_format: Format) -> str:
    if output_format is Format.text:
        return translation.tgt
    best = translation.nbest[0]
    nbest = [{"tgt": candidate.tgt, "score": candidate.score} for candidate in translation.nbest]
    record = {"src": translation.src, "tgt": best.tgt, "score": best.score, "nbest": nbest}
    return json.dumps(record, ensure_ascii=False)


def _print(line: str) -> None:
    """One line of results, in UTF-8 whatever the locale, at once."""
    sys.stdout.buffer.write(line.encode() + b"\n")
    sys.stdout.buffer.flush()


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
