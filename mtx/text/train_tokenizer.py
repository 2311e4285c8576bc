"""Train SentencePiece models, on an even sample if the text is large."""

import io
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from mtx.config.settings import TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.text.normalization import fold, with_source_rules, without_rules
from mtx.text.tokenizer import BREAKS_LINE, Tokenizer, escape, load_tokenizer, tag_symbol

MAX_LINE_BYTES = 16384  # Longer lines are skipped
MIN_LINE_BYTES = 32  # Minimum size to count per line, since each line takes memory besides its text
_RESERVED = "\u2585"  # Separator used by SentencePiece's trainer, which silently skips lines that contain it
_CUT = "\ufdd1"  # A noncharacter at which the trainer cuts text: no piece extends across it
_BETWEEN_DIGITS = re.compile(r"(?<=\d)(?=\d)")


def train_tokenizer(
    src: Iterable[str],
    tgt: Iterable[str],
    settings: TokenizerSettings,
    log: Callable[[str], None],
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Train the model or models of `settings`, or load its file; the same text gives the same bytes.

    Reads `src` and `tgt` once. Calls `log` if lines are skipped or the vocabulary becomes smaller. Each of `tags`
    becomes a control symbol, which no text can yield.

    Raises:
        UserError: there is no text, or its alphabet is larger than the vocabulary (DATA).
    """
    if settings.file is not None:
        return load_tokenizer(settings.file)
    folds_source = settings.normalization == "source"
    if folds_source:
        src, tgt = map(fold, src), map(_printable, tgt)
    elif settings.normalization == "lossless":
        src, tgt = map(_printable, src), map(_printable, tgt)
    if settings.joint:
        both = (line for pair in zip_longest(src, tgt) for line in pair if line is not None)
        models = {"spm.model": _train_model(both, settings, log, tags)}
    else:
        models = {"source.spm": _train_model(src, settings, log, tags), "target.spm": _train_model(tgt, settings, log)}
    if folds_source:
        models = {
            name: without_rules(model) if name == "target.spm" else with_source_rules(model)
            for name, model in models.items()
        }
    return Tokenizer.from_files(models)


def _printable(line: str) -> str:
    """Escape `line`, with spaces for characters that break it, so that no piece contains one and all can be shown."""
    return BREAKS_LINE.sub(" ", escape(line))


@dataclass(frozen=True, slots=True)
class Sample:
    """An even sample of the lines of a text, in their order."""

    lines: list[str]
    num_read: int  # Number of lines that it was drawn from
    num_long: int  # Number of lines skipped because they are longer than MAX_LINE_BYTES


def draw_sample(lines: Iterable[str], max_bytes: int) -> Sample:
    """Return all of `lines` if they fit in `max_bytes`, else an even, reproducible sample that fills at least 85 %.

    Each line draws a random number between 0 and 1, and is kept if that is below a limit. Whenever the kept lines
    exceed `max_bytes`, the limit falls.
    """
    rng = random.Random(0)
    limit, num_bytes, num_read, num_long = 1.0, 0, 0, 0
    kept: list[tuple[float, int, str]] = []
    for line in lines:
        size = len(line.encode("utf-8"))
        if size > MAX_LINE_BYTES:
            num_long += 1
            continue
        num_read += 1
        number = rng.random()
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
    rule = "identity" if is_lossless or settings.normalization == "source" else settings.normalization
    sample = draw_sample((line.replace(_RESERVED, " ") for line in lines), settings.sample_megabytes * 10**6)
    if sample.num_long:
        log(f"vocabulary trained without {sample.num_long:,} lines of more than {MAX_LINE_BYTES:,} bytes")
    if len(sample.lines) < sample.num_read:
        log(
            f"vocabulary trained on {len(sample.lines):,} lines drawn evenly from {sample.num_read:,}"
            f" (tokenizer.sample_megabytes: {settings.sample_megabytes})"
        )
    if settings.split_digits:  # SentencePiece's own option knows the digits of ASCII only
        sample.lines[:] = [line if line.isascii() else _BETWEEN_DIGITS.sub(_CUT, line) for line in sample.lines]
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            # Not a generator: an exception raised in it by a signal handler would become a RuntimeError.
            sentence_iterator=iter(sample.lines),
            model_writer=model,
            model_type=settings.model_type,
            vocab_size=settings.vocab_size,
            hard_vocab_limit=False,
            character_coverage=settings.character_coverage,
            byte_fallback=settings.byte_fallback,
            split_digits=settings.split_digits,
            pretokenization_delimiter=_CUT if settings.split_digits else "",
            normalization_rule_name=rule,
            remove_extra_whitespaces=not is_lossless,
            max_sentence_length=MAX_LINE_BYTES,
            num_threads=1,  # with more, the result depends on timing
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
    """Translate SentencePiece's `error` for the user."""
    if too_small := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
        what = f"tokenizer.vocab_size {vocab_size} is smaller than the alphabet of the corpus"
        return UserError(ExitCode.DATA, what, do=f"Set tokenizer.vocab_size to at least {too_small[1]}.")
    if "sentences_.empty()" in str(error) or "all_chars_count" in str(error):
        what = "the corpus has no text to train a vocabulary on"
        return UserError(ExitCode.DATA, what, do="Check the training files.")
    what = f"SentencePiece cannot train a vocabulary of {vocab_size} on this corpus: {str(error).splitlines()[-1]}"
    return UserError(ExitCode.DATA, what, do="Give more text, or set tokenizer.vocab_size to 300 or more.")
