"""`mtx score`: how probable a model finds given translations."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mtx.cli.options import (
    DeviceOption,
    ModelsOption,
    PrecisionOption,
    load_models,
    path_option,
    warn_of_missing_tag,
    with_decode_flags,
)
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import STANDARD, input_lines, input_name, line_writer, refuse_overwriting, warn
from mtx.errors import ExitCode, UserError

if TYPE_CHECKING:
    from mtx.decode.score import PairScore

PAIRS_AT_ONCE = 20_000  # Pairs in memory, which are sorted by length: with more, batches have hardly less padding


@with_decode_flags(only=("length_penalty", "batch_tokens", "tag", "ensemble"))
def score(
    given: dict[str, Any],
    src: Annotated[Path, path_option("Source sentences, one a line; - is stdin.")],
    tgt: Annotated[Path, path_option("Their translations, one a line; - is stdin.")],
    model: ModelsOption = None,
    output: Annotated[Path | None, path_option("File to write; default: stdout.", "--output", "-o")] = None,
    words: Annotated[bool, typer.Option("--words", help="Also print the log-probability of each word.")] = False,
    output_format: Annotated[
        Literal["tsv", "jsonl"], typer.Option("--format", help="Columns, or JSON with both sentences.")
    ] = "tsv",
    precision: PrecisionOption = "fp32",
    device: DeviceOption = "auto",
) -> None:
    """Print how probable a model finds given translations. Each pair of lines gives one output line, in order.

    The columns are the score as in mtx translate, which is log-probability / tokens ** length penalty; the natural
    log-probability; and the number of tokens, with the end of the sentence. With --words follow the words, and their
    log-probabilities and that of the end.

    A pair is scored whole, as it is given: also where mtx translate would translate a line sentence by sentence, in
    parts because it is long, or copy it because it has no letters. Its words are cut into tokens by the tokenizer; the
    search may have found the same text in other tokens. Two empty lines have the score 0.

    \b
    mtx score --src in.txt --tgt out.txt
    mtx score -m runs/my --src in.txt --tgt out.txt --words --format jsonl -o scores.jsonl.gz
    """
    if src == tgt == STANDARD:
        raise command_line_error("stdin (-) given for two files", "Give one of them a name.")
    refuse_overwriting(output, [src, tgt])
    num_half_empty = num_long = 0
    with line_writer(output) as write_line:
        loaded, arithmetic = load_models(model, precision, device)
        from mtx.decode.score import Scorer

        options = loaded[0].generation.decode.with_options(**given)
        warn_of_missing_tag(loaded[0], options.tag)
        scorer, pairs = Scorer(loaded, options, arithmetic), _pairs(src, tgt)
        while group := list(islice(pairs, PAIRS_AT_ONCE)):
            for result in scorer.score(group):
                num_half_empty += bool(result.src.strip()) != bool(result.tgt.strip())
                num_long += result.is_long
                write_line(_to_json(result, words) if output_format == "jsonl" else _to_columns(result, words))
    if num_half_empty:
        warn(f"pairs with one empty line, scored like any other: {num_half_empty:,}")
    if num_long:
        warn(f"sources longer than any training line, scored whole, less reliably: {num_long:,}")


def _pairs(src: Path, tgt: Path) -> Iterator[tuple[str, str]]:
    """Yield pairs of lines.

    Raises:
        UserError: (DATA) a file can't be read, or one has more lines; raised after all pairs.
    """
    num_src = num_tgt = 0
    for one, other in zip_longest(*(chain.from_iterable(input_lines(path)) for path in (src, tgt))):
        num_src += one is not None
        num_tgt += other is not None
        if one is not None and other is not None:
            yield one, other
    if num_src != num_tgt:
        what = f"{input_name(src)} has {num_src:,} lines, {input_name(tgt)} {num_tgt:,}"
        raise UserError(ExitCode.DATA, what, do="Give one translation a line for each source.")


def _to_json(pair: "PairScore", has_words: bool) -> str:
    fields = {name: getattr(pair, name) for name in ("src", "tgt", "score", "logp", "num_tokens")}
    if has_words:
        fields |= {"words": [asdict(word) for word in pair.words], "end": pair.end_logp}
    return json.dumps(fields, ensure_ascii=False)


def _to_columns(pair: "PairScore", has_words: bool) -> str:
    columns = [str(pair.score), str(pair.logp), str(pair.num_tokens)]
    if has_words:
        # A word that contains a space, which few tokenizers allow, must not look like two.
        columns.append(" ".join("_".join(word.word.split()) or "_" for word in pair.words))
        columns.append(" ".join(map(str, (*(word.logp for word in pair.words), pair.end_logp))))
    return "\t".join(columns)
