"""Training of SentencePiece models, on an even sample of the text where there is much of it."""

import io
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from mtx.config.settings import TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.text.tokenizer import BREAKS_LINE, Tokenizer, escape, load_tokenizer, tag_symbol

MAX_LINE_BYTES = 16384
"""Longer lines are left out."""
MIN_LINE_BYTES = 32
"""Shorter lines count as so long: each takes memory beside its text."""

_RESERVED = "\u2585"
"""SentencePiece's own mark in training: it silently leaves out a line that holds it."""


def train_tokenizer(
    src: Iterable[str],
    tgt: Iterable[str],
    settings: TokenizerSettings,
    log: Callable[[str], None],
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Train the model or models that `settings` asks for; the same text gives the same bytes.

    `src` and `tgt` are read once. `log` is told what was left out or lowered. Each of `tags` becomes a control symbol,
    which no text can yield.

    Raises:
        UserError: (DATA) no text, or a vocabulary too small for its alphabet.
    """
    if settings.file is not None:
        return load_tokenizer(settings.file)
    if settings.joint:
        both = (line for pair in zip_longest(src, tgt) for line in pair if line is not None)
        return Tokenizer.from_files({"spm.model": _train_model(both, settings, log, tags)})
    models = {"source.spm": _train_model(src, settings, log, tags), "target.spm": _train_model(tgt, settings, log)}
    return Tokenizer.from_files(models)


@dataclass(frozen=True, slots=True)
class Sample:
    """Lines of a text in their order, each of which was as likely to be among them."""

    lines: list[str]
    num_read: int
    """Lines that it was drawn from."""
    num_long: int
    """Lines beside these, longer than MAX_LINE_BYTES."""


def draw_sample(lines: Iterable[str], max_bytes: int) -> Sample:
    """All of `lines`, or an even sample of at least 85 % of `max_bytes`; of the same lines the same.

    Each line draws a number from 0 to 1, and those below a limit are kept. Whenever they are too many, the limit falls.
    """
    numbers = random.Random(0)
    limit, num_bytes, num_read, num_long = 1.0, 0, 0, 0
    kept: list[tuple[float, int, str]] = []
    for line in lines:
        size = len(line.encode("utf-8"))
        if size > MAX_LINE_BYTES:
            num_long += 1
            continue
        num_read += 1
        number = numbers.random()
        if number >= limit:
            continue
        kept.append((number, max(size, MIN_LINE_BYTES), line))
        num_bytes += kept[-1][1]
        while num_bytes > max_bytes:
            limit *= 0.9
            kept = [drawn for drawn in kept if drawn[0] < limit]
            num_bytes = sum(size for _, size, _ in kept)
    return Sample([line for _, _, line in kept], num_read, num_long)


def _train_model(
    lines: Iterable[str], settings: TokenizerSettings, log: Callable[[str], None], tags: Sequence[str] = ()
) -> bytes:
    import sentencepiece

    is_lossless = settings.normalization == "lossless"
    if is_lossless:
        # What breaks a line gets no piece but is spelled in bytes, so that pieces can be printed on a line.
        lines = (BREAKS_LINE.sub(" ", escape(line)) for line in lines)
    sample = draw_sample((line.replace(_RESERVED, " ") for line in lines), settings.sample_megabytes * 10**6)
    if sample.num_long:
        log(f"vocabulary trained without {sample.num_long:,} lines of more than {MAX_LINE_BYTES:,} bytes")
    if len(sample.lines) < sample.num_read:
        log(
            f"vocabulary trained on {len(sample.lines):,} lines drawn evenly from {sample.num_read:,}"
            f" (tokenizer.sample_megabytes: {settings.sample_megabytes})"
        )
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            # A list's own iterator runs no Python: what a signal raises there would become a RuntimeError.
            sentence_iterator=iter(sample.lines),
            model_writer=model,
            model_type=settings.model_type,
            vocab_size=settings.vocab_size,
            hard_vocab_limit=False,
            character_coverage=settings.character_coverage,
            byte_fallback=settings.byte_fallback,
            normalization_rule_name="identity" if is_lossless else settings.normalization,
            remove_extra_whitespaces=not is_lossless,
            max_sentence_length=MAX_LINE_BYTES,
            num_threads=1,  # more make the result depend on their timing
            minloglevel=2,
            control_symbols=[tag_symbol(tag) for tag in tags],
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
        )
    except RuntimeError as error:
        raise _training_error(error, settings.vocab_size) from error
    num_pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    if num_pieces < settings.vocab_size:
        log(f"vocabulary lowered from {settings.vocab_size} to {num_pieces}: the corpus has no more pieces")
    return model.getvalue()


def _training_error(error: RuntimeError, vocab_size: int) -> UserError:
    """What the user should read in place of SentencePiece's `error`."""
    if too_small := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
        what = f"tokenizer.vocab_size {vocab_size} is smaller than the alphabet of the corpus"
        return UserError(ExitCode.DATA, what, do=f"Set tokenizer.vocab_size to at least {too_small[1]}.")
    if "sentences_.empty()" in str(error) or "all_chars_count" in str(error):
        return UserError(ExitCode.DATA, "the corpus holds no text to train a vocabulary on", do="Give text.")
    what = f"SentencePiece cannot train a vocabulary of {vocab_size} on this corpus: {str(error).splitlines()[-1]}"
    return UserError(ExitCode.DATA, what, do="Give more text, or set tokenizer.vocab_size to 300 or more.")
