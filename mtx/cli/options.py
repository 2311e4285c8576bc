"""Options that several commands share, and the translator they describe."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtx.config.settings import MAX_COUNT

if TYPE_CHECKING:
    from mtx.decode.translator import Translator

RUNS = Path("runs")
"""Parent of the run folders, unless --run-dir is given."""
MAX_BEAM = 1000


class PrecisionName(StrEnum):
    """Number format of decoding."""

    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"
    int8 = "int8"


ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", "-m", help="Model folder or run folder; default: the newest model in ./runs.", readable=False
    ),
]
BeamOption = Annotated[
    int | None, typer.Option("--beam", help="Hypotheses kept at each step; 1 is greedy search.", min=1, max=MAX_BEAM)
]
PenaltyOption = Annotated[
    float | None, typer.Option("--length-penalty", help="Rank by log-probability / length ** this.", min=0.0, max=10.0)
]
BatchOption = Annotated[
    int,
    typer.Option(
        "--batch-tokens",
        help="Size limit of a batch: beam size * padded source tokens, at least 16 per sentence.",
        min=1,
        max=MAX_COUNT,
    ),
]
PrecisionOption = Annotated[
    PrecisionName, typer.Option("--precision", help="Number format of the computation; fp32 is exact.")
]
TagOption = Annotated[
    str | None,
    typer.Option("--tag", help="Tag to put before each source, such as 2de, for a model trained with several tags."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def load_translator(
    model: Path | None,
    beam: int | None,
    length_penalty: float | None,
    batch_tokens: int,
    precision: PrecisionName,
    device: str,
    n_best: int = 1,
    *,
    with_scores: bool = False,
    splits_long: bool = True,
    tag: str | None = None,
) -> "Translator":
    """Load the translator; options that are not given come from the model folder."""
    from mtx.checkpoint.model_folder import find_model, load_model
    from mtx.decode.translator import Translator
    from mtx.system.device import choose_device, choose_precision, use_threads
    from mtx.system.memory import ONEDNN_KERNELS_DECODING, configure_malloc, limit_onednn_cache

    use_threads()
    configure_malloc()
    limit_onednn_cache(ONEDNN_KERNELS_DECODING)
    arithmetic = choose_precision(precision.value, choose_device(device))
    trained = load_model(find_model(model, RUNS))
    trained.model.to(arithmetic.device)
    decode = trained.generation.decode
    beam_size = max(beam or decode.beam_size, n_best)
    if beam_size > trained.tokenizer.tgt_vocab_size:
        print(f"mtx: beam lowered to the vocabulary size, {trained.tokenizer.tgt_vocab_size}", file=sys.stderr)
    if tag is None and len(tags := trained.tokenizer.tags) > 1:
        print(f"mtx: no --tag given; the model was trained with {', '.join(tags)}", file=sys.stderr)
    return Translator(
        trained,
        arithmetic,
        beam_size=beam_size,
        length_penalty=decode.length_penalty if length_penalty is None else length_penalty,
        batch_tokens=batch_tokens,
        n_best=n_best,
        with_scores=with_scores,
        splits_long=splits_long,
        tag=tag,
    )
