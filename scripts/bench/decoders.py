"""Decoders that compete: mtx in its precisions, CTranslate2, transformers' `generate`, and their settings."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtx.cli.options import load_translator
from mtx.errors import UserError
from scripts.bench.contest import PEERS, Contestant
from scripts.bench.weights import fits_m2m100

BATCH_TOKENS = (4096, 8192, 16384)
"""Default values of `--batch-tokens` to try with mtx."""
BATCHES = (32, 64, 128)
"""Default batch sizes to try with the peers, in sentences."""

Setting = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Work:
    """Text to translate, model, and device."""

    model: Path
    source: Path
    folder: Path
    """Folder for converted models."""
    device: str


@dataclass(frozen=True, slots=True)
class Decoder:
    """Contestant with its candidate settings for a whole text, and its setting for single sentences."""

    contestant: Contestant
    settings: list[Setting]
    single: Setting


def mtx_decoders(work: Work, precisions: Sequence[str], batch_tokens: Sequence[int], threads: int) -> list[Decoder]:
    """List mtx in each of the precisions."""
    settings: list[Setting] = [{"batch_tokens": number} for number in batch_tokens]
    return [
        Decoder(
            _contestant(work, f"mtx {precision}", Path(sys.executable), threads, "mtx", "--precision", precision),
            settings,
            {"batch_tokens": 8192},
        )
        for precision in precisions
    ]


def ctranslate2_decoders(work: Work, python: Path, batches: Sequence[int], threads: int) -> list[Decoder]:
    """List CTranslate2 in float32 and int8: one worker per thread or one for all; batches of sentences or tokens."""
    fillings: list[Setting] = [{"batch": batch, "unit": "examples"} for batch in batches]
    fillings.append({"batch": 16 * max(batches), "unit": "tokens"})
    layouts = [{"workers": w, "threads": t} for w, t in sorted({(threads, 1), (1, threads)}, reverse=True)]
    settings = [{**layout, **filling} for layout in layouts for filling in fillings]
    single: Setting = {"workers": 1, "threads": threads, "batch": 1, "unit": "examples"}
    converted = "--converted", str(work.folder / "ctranslate2")
    return [
        Decoder(
            _contestant(
                work, f"CTranslate2 {kind}", python, threads, "ctranslate2", *converted, "--compute-type", kind
            ),
            settings,
            single,
        )
        for kind in ("float32", "int8")
    ]


def generate_decoder(work: Work, python: Path, batches: Sequence[int], threads: int) -> Decoder:
    """Describe transformers' `generate` in float32."""
    contestant = _contestant(work, "generate", python, threads, "generate")
    return Decoder(contestant, [{"batch": batch} for batch in batches], {"batch": 1})


def _contestant(work: Work, name: str, python: Path, threads: int, peer: str, *arguments: str) -> Contestant:
    command = str(python), str(PEERS / f"{peer}_decode.py"), str(work.model), str(work.source), *arguments
    return Contestant(name, (*command, "--device", work.device), {"OMP_NUM_THREADS": str(threads)})


def refusals(work: Work, libraries: Sequence[str], precisions: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Find contestants that cannot take part, with the reason: unsupported precision, or a model M2M100 cannot hold."""
    for precision in precisions if "mtx" in libraries else ():
        try:
            load_translator(work.model, {"beam_size": 1}, precision, work.device)
        except (UserError, KeyError) as error:
            yield f"mtx {precision}", str(error)
    if "generate" in libraries and not fits_m2m100(work.model):
        yield "generate", "M2M100 supports only pre-norm layers and a joint vocabulary"
