"""`mtx tokenizer`: SentencePiece alone, as filters."""

import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mtx.cli.reporting import reported
from mtx.cli.streams import input_lines, path_text, print_line, refuse_overwriting
from mtx.config.settings import MAX_VOCAB_SIZE, TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.files.atomic import new_file

if TYPE_CHECKING:
    from mtx.text.tokenizer import Tokenizer

tokenizer_app = typer.Typer(help="The SentencePiece part alone, as filters.", no_args_is_help=True)


class ModelType(StrEnum):
    """SentencePiece's algorithms."""

    unigram = "unigram"
    bpe = "bpe"


class Normalization(StrEnum):
    """What is done to text before it is cut."""

    nmt_nfkc = "nmt_nfkc"
    nfkc = "nfkc"
    nmt_nfkc_cf = "nmt_nfkc_cf"
    nfkc_cf = "nfkc_cf"
    identity = "identity"
    lossless = "lossless"


ModelArgument = Annotated[
    Path, typer.Option("--model", "-m", help="SentencePiece model, model folder or run folder.", readable=False)
]


@tokenizer_app.command("train")
@reported
def train_tokenizer_command(
    files: Annotated[list[Path] | None, typer.Argument(help="Text files; default: stdin.", readable=False)] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the model.", readable=False)] = Path(
        "spm.model"
    ),
    vocab_size: Annotated[
        int, typer.Option(help="Pieces, special symbols included.", min=8, max=MAX_VOCAB_SIZE)
    ] = 8000,
    model_type: Annotated[ModelType, typer.Option(help="SentencePiece algorithm.")] = ModelType.unigram,
    byte_fallback: Annotated[bool, typer.Option(help="Spell unknown characters as bytes.")] = True,
    normalization: Annotated[
        Normalization, typer.Option(help="Unicode normalisation; identity changes spaces only, lossless nothing.")
    ] = Normalization.nmt_nfkc,
    sample_megabytes: Annotated[
        int, typer.Option(help="Text to train it on at most, drawn evenly from all.", min=1, max=100_000)
    ] = 64,
) -> None:
    """Train a SentencePiece model on text.

    \b
    cat train.en train.de | mtx tokenizer train --vocab-size 8000 -o spm.model
    """
    from mtx.text.train_tokenizer import train_tokenizer

    if normalization is Normalization.lossless and not byte_fallback:
        what, do = "lossless without bytes for what has no piece", "Leave out --no-byte-fallback."
        raise UserError(ExitCode.USAGE, what, where="command line", do=do)
    inputs: list[Path | None] = [*files] if files else [None]
    refuse_overwriting(output, inputs)
    settings = TokenizerSettings(
        vocab_size=vocab_size,
        model_type=model_type.value,
        byte_fallback=byte_fallback,
        normalization=normalization.value,
        sample_megabytes=sample_megabytes,
    )
    with new_file(output) as file:
        lines = (line for path in inputs for line in _lines(path))
        tokenizer = train_tokenizer(lines, [], settings, lambda text: print(f"mtx: {text}", file=sys.stderr))
        file.write(tokenizer.files()["spm.model"])
    print_line(path_text(output))


@tokenizer_app.command("encode")
@reported
def encode_command(
    model: ModelArgument = Path("spm.model"),
    as_ids: Annotated[bool, typer.Option("--ids", help="Print ids instead of pieces.")] = False,
) -> None:
    """Cut lines of stdin into pieces, separated by spaces; in the pieces a space is U+2581.

    A U+2581 in the text counts as a space, save for a lossless model.
    """
    from mtx.text.tokenizer import pieces_of

    refuse_overwriting(None, [None])
    tokenizer = _tokenizer_of(model)
    for line in _lines(None):
        ids = tokenizer.encode_src([line])[0]
        print_line(" ".join(map(str, ids) if as_ids else pieces_of(tokenizer, ids)))


@tokenizer_app.command("decode")
@reported
def decode_command(
    model: ModelArgument = Path("spm.model"),
    as_ids: Annotated[bool, typer.Option("--ids", help="Read ids instead of pieces.")] = False,
) -> None:
    """Put the pieces on each line of stdin together to text."""
    from mtx.text.tokenizer import ids_of

    tokenizer = _tokenizer_of(model)
    for number, line in enumerate(_lines(None), start=1):
        if as_ids:
            ids = _parse_ids(line, number, tokenizer.tgt_vocab_size)
        else:
            ids = ids_of(tokenizer, [piece for piece in line.split(" ") if piece])
        print_line(tokenizer.decode([ids])[0])


def _tokenizer_of(path: Path) -> "Tokenizer":
    """The tokenizer at `path`; that of a model folder as its manifest says it is."""
    from mtx.files.sealed import MANIFEST, open_sealed
    from mtx.text.tokenizer import load_tokenizer, tokenizer_files

    if os.path.lexists(path / MANIFEST):
        open_sealed(path, needed=tokenizer_files(path))
    return load_tokenizer(path)


def _lines(path: Path | None) -> Iterator[str]:
    for group in input_lines(path):
        yield from group


def _parse_ids(line: str, number: int, vocab_size: int) -> list[int]:
    try:
        ids = [int(text) for text in line.split()]
    except ValueError:
        ids = [-1]
    if any(not 0 <= id_ < vocab_size for id_ in ids):
        what = f"not ids below {vocab_size}"
        raise UserError(ExitCode.DATA, what, where=f"stdin line {number}", do="Give what encode --ids prints.")
    return ids
