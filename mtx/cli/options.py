"""Options that several commands share, and the translator they describe."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtx.cli.reporting import command_line_error
from mtx.config.decoding import DecodeOptions, DecodeSettings

if TYPE_CHECKING:
    from mtx.checkpoint.model_folder import TrainedModel
    from mtx.decode.translator import Translator
    from mtx.system.device import Precision

RUNS = Path("runs")  # Parent of the run folders, unless --run-dir is given


def to_path(text: str) -> Path:
    """The path `text`. `~` is expanded, which shells do not do in --output=~/file; ./~ stays."""
    return Path(os.path.expanduser(text))


def path_option(description: str, *names: str) -> Any:
    """Describe an option for a path. Whether it can be read is left to the command, whose error has another code."""
    return typer.Option(*names, help=description, metavar="<path>", parser=to_path)


def path_argument(description: str) -> Any:
    """Describe an argument for paths, as `path_option` describes an option."""
    return typer.Argument(help=description, metavar="files", parser=to_path)


MODEL_HELP = "Model or run folder; default: newest in ./runs. Repeat it for an ensemble."
ModelsOption = Annotated[list[Path] | None, path_option(MODEL_HELP, "--model", "-m")]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"],
    typer.Option(help="Number format of the computation; fp32 is exact."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ConfigOption = Annotated[Path | None, path_option("YAML file; default: the built-in demo.", "--config", "-c")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings such as train.lr=1e-3.")]


def flag_of(name: str) -> str | None:
    """The flag of a field of DecodeOptions; None if it has none."""
    return next((x for x in DecodeOptions.model_fields[name].metadata if isinstance(x, str)), None)


def with_decode_flags(
    *omitted: str, only: Collection[str] = tuple(DecodeOptions.model_fields)
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the flags of DecodeOptions, except `omitted` fields, or of the fields `only`.

    The command receives those that the user gave as a dictionary, `given`.
    """
    flags: dict[str, Any] = {}
    for name, field in DecodeOptions.model_fields.items():
        if name in only and name not in omitted and (flag := flag_of(name)):
            least, most = (
                next((getattr(x, end) for x in field.metadata if hasattr(x, end)), None) for end in ("ge", "le")
            )
            default = "the model's" if name in DecodeSettings.model_fields else str(field.default)
            has_default = field.annotation not in (bool, str, str | None)
            option = typer.Option(
                flag, help=field.description, min=least, max=most, show_default=default if has_default else False
            )
            flags[name] = Annotated[field.annotation | None, option]  # type: ignore[operator]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(**arguments: Any) -> None:
            given = {name: value for name in flags if (value := arguments.pop(name)) is not None}
            refuse_conflicts(given)
            if "ensemble" in given and len(arguments.get("model") or ()) < 2:
                raise command_line_error("--ensemble without a second --model", "Add --model, or leave it out.")
            command(**arguments, given=given)

        functools.update_wrapper(run, command)
        signature = inspect.signature(command)
        own = [parameter for name, parameter in signature.parameters.items() if name != "given"]
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(name, keyword_only, default=None, annotation=flags[name]) for name in flags]
        run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
        return run

    return decorate


def refuse_conflicts(given: dict[str, Any]) -> None:
    """Refuse decoding options that make no sense together.

    Raises:
        UserError: (USAGE) there are some.
    """
    drawing = ("temperature", "top_k", "top_p", "seed", "samples")
    if not given.get("sample") and (lonely := next((name for name in drawing if name in given), None)):
        raise command_line_error(f"{flag_of(lonely)} without --sample", "Add --sample, or leave it out.")
    if "diversity_penalty" in given and given.get("beam_groups", 1) == 1:
        raise command_line_error("--diversity-penalty without --beam-groups", "Add --beam-groups, or leave it out.")
    searching = ("beam_size", "beam_groups", "coverage_penalty", "samples" if given.get("mbr") else "n_best")
    if given.get("sample") and (other := next((name for name in searching if name in given), None)):
        do = f"Leave out {flag_of(other)}; the number of samples is that of --mbr, or else of --samples."
        raise command_line_error(f"both {'--mbr' if other == 'samples' else '--sample'} and {flag_of(other)} given", do)


def load_models(
    models: Path | Sequence[Path] | None, precision: str, device: str
) -> "tuple[list[TrainedModel], Precision]":
    """Load models with one vocabulary; `models` are the folders of --model.

    Raises:
        UserError: a folder is unusable (MODEL), or they differ in vocabulary or languages (USAGE).
    """
    from mtx.checkpoint.model_folder import find_model, load_model
    from mtx.system.device import choose_device, choose_precision, use_threads
    from mtx.system.memory import ONEDNN_KERNELS_DECODING, configure_malloc, limit_onednn_cache

    use_threads()
    configure_malloc()
    limit_onednn_cache(ONEDNN_KERNELS_DECODING)
    arithmetic = choose_precision(precision, choose_device(device))
    given = [models] if isinstance(models, Path) else models or ()
    folders = [find_model(each, RUNS) for each in given] or [find_model(None, RUNS)]
    loaded = [load_model(folder) for folder in folders]
    for folder, trained in zip(folders, loaded, strict=True):
        trained.model.to(arithmetic.device)
        if _vocabulary(trained) != _vocabulary(loaded[0]):
            what = f"the vocabulary of {folder} is not that of {folders[0]}"
            do = "Train one with the tokenizer of the other: the same data and settings, or tokenizer.file."
            raise command_line_error(what, do)
        if _languages(trained) != _languages(loaded[0]):
            what = f"the languages of {folder} are not those of {folders[0]}"
            raise command_line_error(what, "Give models for the same languages and tags.")
    return loaded, arithmetic


def _vocabulary(trained: "TrainedModel") -> object:
    return trained.tokenizer.files


def _languages(trained: "TrainedModel") -> object:
    return trained.src_lang, trained.tgt_lang, trained.tag_languages


def warn_of_missing_tag(trained: "TrainedModel", tag: str | None) -> None:
    """Tell if a model was trained with several tags and none is given."""
    if tag is None and len(tags := trained.tokenizer.tags) > 1:
        print(f"mtx: no --tag given; the model was trained with {', '.join(tags)}", file=sys.stderr)


def load_translator(
    models: Path | Sequence[Path] | None, given: dict[str, Any], precision: str, device: str
) -> "Translator":
    """Load the translator; decoding options that are not given come from the model folder, the first of several."""
    loaded, arithmetic = load_models(models, precision, device)
    from mtx.decode.ensemble import with_common_limits
    from mtx.decode.translator import Translator

    trained = with_common_limits(loaded)
    options = trained.generation.decode.with_options(**given)
    if options.n_best > (options.mbr or options.width):
        what = f"--n-best {options.n_best} is above the beam size, {options.beam_size}"
        if options.mbr:
            raise command_line_error(f"--n-best {options.n_best} is above --mbr {options.mbr}", "Raise --mbr.")
        raise command_line_error(what, f"Add --beam {options.n_best}, which may change the best translations, too.")
    width, groups = max(options.beam_size, options.mbr), options.beam_groups
    if width % groups and not options.sample:
        what = f"--beam-groups {groups} does not divide the beam of {width} into equal groups"
        raise command_line_error(what, f"Add --beam {-(-width // groups) * groups}.")
    if width > trained.tokenizer.tgt_vocab_size and not options.sample:
        print(f"mtx: beam lowered to the vocabulary size, {trained.tokenizer.tgt_vocab_size}", file=sys.stderr)
    return Translator(trained, options, arithmetic, [each.model for each in loaded[1:]])
