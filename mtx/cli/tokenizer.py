"""`mtx tokenizer`: train and apply a SentencePiece model."""

import os
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mtx.cli.options import path_argument, path_option
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import input_lines, path_text, print_line, refuse_overwriting
from mtx.config.limits import MAX_VOCAB_SIZE
from mtx.config.settings import Normalization, TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.files.atomic import new_file

if TYPE_CHECKING:
    from mtx.text.tokenizer import Tokenizer

tokenizer_app = typer.Typer(help="Train and apply a SentencePiece model.")

SPM_MODEL = Path("spm.model")
FIELDS = TokenizerSettings.model_fields
ModelFile = Annotated[Path, path_option("SentencePiece model, model folder or run folder.", "--model", "-m")]


@tokenizer_app.command("train")
def train_tokenizer_command(
    files: Annotated[list[Path] | None, path_argument("Text files; default: stdin.")] = None,
    output: Annotated[Path, path_option("Model file to write.", "--output", "-o")] = SPM_MODEL,
    vocab_size: Annotated[
        int, typer.Option(help="Pieces, special symbols included.", min=8, max=MAX_VOCAB_SIZE)
    ] = 8000,
    model_type: Annotated[Literal["unigram", "bpe"], typer.Option(help="SentencePiece algorithm.")] = "unigram",
    byte_fallback: Annotated[bool, typer.Option(help="Encode characters without a piece as bytes.")] = True,
    normalization: Annotated[Normalization, typer.Option(help=FIELDS["normalization"].description)] = "source",
    split_digits: Annotated[bool, typer.Option(help=FIELDS["split_digits"].description)] = True,
    sample_megabytes: Annotated[int, typer.Option(help="Megabytes of text to sample.", min=1, max=100_000)] = 64,
) -> None:
    """Train a SentencePiece model on text.

    \b
    cat train.en train.de | mtx tokenizer train --vocab-size 8000 -o spm.model
    """
    from mtx.text.train_tokenizer import train_tokenizer

    if normalization == "lossless" and not byte_fallback:
        raise command_line_error("--normalization lossless needs byte fallback", "Remove --no-byte-fallback.")
    inputs: list[Path | None] = [*files] if files else [None]
    refuse_overwriting(output, inputs)
    settings = TokenizerSettings(
        vocab_size=vocab_size,
        model_type=model_type,
        byte_fallback=byte_fallback,
        normalization=normalization,
        split_digits=split_digits,
        sample_megabytes=sample_megabytes,
    )
    with new_file(output) as file:
        lines = (line for path in inputs for group in input_lines(path) for line in group)
        # As targets, because sources are folded: the vocabulary needs the characters of both.
        tokenizer = train_tokenizer([], lines, settings, lambda text: print(f"mtx: {text}", file=sys.stderr))
        file.write(tokenizer.files["spm.model"])
    print_line(path_text(output))


@tokenizer_app.command("encode")
def encode_command(
    model: ModelFile = SPM_MODEL,
    as_ids: Annotated[bool, typer.Option("--ids", help="Print token ids instead of pieces.")] = False,
    as_target: Annotated[bool, typer.Option("--target", help="Encode as target text, not as source text.")] = False,
) -> None:
    """Split each line of stdin into pieces, separated by spaces.

    Pieces write a space as U+2581. A U+2581 in the text is read as a space, unless with --target or a lossless model.
    """
    refuse_overwriting(None, [None])
    tokenizer = _load_tokenizer(model)
    encode = tokenizer.encode_tgt if as_target else tokenizer.encode_src
    pieces = tokenizer.tgt_pieces if as_target else tokenizer.src_pieces
    for line in chain.from_iterable(input_lines(None)):
        ids = encode([line])[0]
        print_line(" ".join(map(str, ids) if as_ids else pieces.id_to_piece(ids)))


@tokenizer_app.command("decode")
def decode_command(
    model: ModelFile = SPM_MODEL,
    as_ids: Annotated[bool, typer.Option("--ids", help="Read token ids instead of pieces.")] = False,
) -> None:
    """Join the pieces on each line of stdin into text."""
    tokenizer = _load_tokenizer(model)
    for number, line in enumerate(chain.from_iterable(input_lines(None)), start=1):
        if as_ids:
            ids = _parse_ids(line, number, tokenizer.tgt_vocab_size)
        else:
            ids = tokenizer.tgt_pieces.piece_to_id([piece for piece in line.split(" ") if piece])
        print_line(tokenizer.decode([ids])[0])


def _load_tokenizer(path: Path) -> "Tokenizer":
    """Load the tokenizer at `path`; in a model folder, verify its checksum first."""
    from mtx.files.sealed import MANIFEST, open_sealed
    from mtx.text.tokenizer import load_tokenizer, tokenizer_files

    if os.path.lexists(path / MANIFEST):
        open_sealed(path, needed=tokenizer_files(path))
    return load_tokenizer(path)


def _parse_ids(line: str, number: int, vocab_size: int) -> list[int]:
    ids = [int(text) if text.isdecimal() and len(text) < 10 else -1 for text in line.split()]
    if not all(0 <= id_ < vocab_size for id_ in ids):
        what, do = f"not token ids below {vocab_size}", "Give the output of mtx tokenizer encode --ids."
        raise UserError(ExitCode.DATA, what, where=f"stdin line {number}", do=do)
    return ids
