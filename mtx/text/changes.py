"""Characters of targets that a tokenizer changes or loses, so that no translation can ever contain them."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

from mtx.config.settings import TokenizerSettings
from mtx.text.tokenizer import Tokenizer, load_tokenizer

RoundTrip = Callable[[list[str]], list[str]]  # Returns targets as they are after encoding and decoding
NUM_EXAMPLES = 3
BATCH_LINES = 1000  # Targets that are encoded and decoded at a time


def round_trip(tokenizer: Tokenizer) -> RoundTrip:
    """Encoding by `tokenizer`, then decoding."""
    return lambda texts: tokenizer.decode(tokenizer.encode_tgt(texts))


def round_trip_by(settings: TokenizerSettings) -> RoundTrip:
    """The round trip through a tokenizer that is not trained yet: only its normalization changes text."""
    import sentencepiece

    if settings.file is not None:
        return round_trip(load_tokenizer(settings.file))
    if settings.normalization in ("source", "lossless"):
        return lambda texts: texts
    normalizer = sentencepiece.SentencePieceNormalizer(
        rule_name=settings.normalization, add_dummy_prefix=False, escape_whitespaces=False
    )
    return lambda texts: normalizer.normalize(texts)


def describe_changes(targets: Iterable[str], through: RoundTrip) -> str | None:
    """Count the characters of `targets` that are changed, and show the most frequent; None if there are none.

    Spaces do not count.
    """
    lost, remaining = Counter[str](), iter(targets)
    while texts := list(islice(remaining, BATCH_LINES)):
        for text, back in zip(texts, through(texts), strict=True):
            if text != back:
                lost += Counter(text) - Counter(back)
    del lost[" "]
    if not lost:
        return None
    chars = [char for char, _ in lost.most_common(NUM_EXAMPLES)]
    # Brackets keep what becomes a space, since spaces at the ends are removed.
    changed = [through([char])[0] or through([f"({char})"])[0][1:-1] for char in chars]
    examples = [f"{_name(char)} as {_name(back)}" for char, back in zip(chars, changed, strict=True)]
    return f"{lost.total():,} characters of the target, such as {', '.join(examples)}"


def _name(text: str) -> str:
    """`text` itself if it can be seen, else its name."""
    if text.isprintable() and text.strip() and not unicodedata.combining(text[0]):
        return text
    return " ".join(unicodedata.name(char, f"U+{ord(char):04X}") for char in text) or "nothing"
