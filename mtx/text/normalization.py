"""Normalization of source text alone, by the gentle rules below. Target text stays as it is.

A SentencePiece model normalizes all text by the rules in its field `normalizer_spec`. A name marks the rules of mtx as
meant for the source only. To other programs it is a model like any other.

Folding unites different spellings of the same text: letters become composed (NFC), of normal width and not joined in
ligatures; all spaces become one kind; invisible marks vanish. Whatever may differ in meaning stays: ½ ⁶ ² ㎡ ①, all
punctuation, and the joiners U+200C and U+200D, which spell words in Persian and in Indic scripts.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import permutations
from typing import Any

from mtx.text.check_model import SIZED, fields

_SOURCE_RULES = b"mtx_source"
_SPACES_KEPT = b"\x20\x00"  # Field 4 of a `normalizer_spec`, remove_extra_whitespaces: false
_NORMALIZER = 8 * 3 + SIZED  # Key of the field `normalizer_spec` of a model
_NAME, _RULES = 8 * 1 + SIZED, 8 * 2 + SIZED  # Keys of its fields `name` and `precompiled_charsmap`

_END = 0x30000  # First code point above all characters that decompose
_LIGATURES = range(0xFB00, 0xFB50)  # ﬁ and the like; not U+0587, which is a letter of Armenian
_DIGRAPHS = range(0x0132, 0x01F4)  # ĳ, ǆ and other pairs of letters in one character
_NARROW_MARKS = "\uff9e\uff9f"  # ﾞ and ﾟ, which follow a narrow letter of Japanese
_HYPHENS = "\u2010\u2011"
_SPACES = "\t\n\v\f\r\x85\u2028\u2029"
# Soft hyphen, marks of direction, joiners of words, spaces without width, byte order mark
_INVISIBLE = "\u00ad\u061c\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"


def is_for_source(model: bytes) -> bool:
    """Whether the rules of `model` are meant for the source only."""
    specs = [value for key, value in fields(model) if key == _NORMALIZER]
    return any((_NAME, _SOURCE_RULES) in fields(spec) for spec in specs)


def with_source_rules(model: bytes) -> bytes:
    """`model` with the rules that fold a source."""
    rules = dict(fields(_normalizer().serialized_normalizer_spec()))[_RULES]
    return _with_normalizer(model, _field(_NAME, _SOURCE_RULES) + _field(_RULES, rules))


def without_rules(model: bytes) -> bytes:
    """`model` without any rules: it keeps all characters and spaces."""
    return _with_normalizer(model, _field(_NAME, b"identity") + _SPACES_KEPT)


def fold(text: str) -> str:
    """`text` as a model with these rules normalizes a source, except that all spaces are kept."""
    return text if text.isascii() and text.isprintable() else str(_normalizer().normalize(text))


@cache
def _normalizer() -> Any:
    import sentencepiece

    sentencepiece.set_min_log_level(2)  # warnings, not the number of rules
    rules = [(text, folded) for text, folded in _folded().items() if text != folded]
    return sentencepiece.SentencePieceNormalizer(
        norm_map=rules, add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False
    )


def _folded() -> dict[str, str]:
    """Map characters and sequences of characters to what they become. SentencePiece applies the longest that fits."""
    folded: dict[str, str] = {}
    for char in map(chr, range(1, _END)):
        category, kind = unicodedata.category(char), unicodedata.decomposition(char).rpartition(">")[0][1:]
        if category == "Cc":
            folded[char] = ""
        elif category == "Zs" and char != "\u1680":  # which is visible
            folded[char] = " "
        elif unicodedata.normalize("NFD", char) != char:
            folded |= dict.fromkeys(_spellings(char), unicodedata.normalize("NFC", char))
        elif kind and _is_variant(char, kind):
            spellings = [char, *(char + mark for mark in _NARROW_MARKS)] if kind == "narrow" else [char]
            folded |= {text: unicodedata.normalize("NFKC", text) for text in spellings}
    return folded | dict.fromkeys(_SPACES, " ") | dict.fromkeys(_HYPHENS, "-") | dict.fromkeys(_INVISIBLE, "")


def _spellings(char: str) -> Iterator[str]:
    """Yield all canonically equivalent ways to write `char`."""
    yield char
    decomposed = unicodedata.normalize("NFD", char)
    base, marks = decomposed[0], decomposed[1:]
    for order in permutations(marks):
        for num_composed in range(len(marks) + 1):
            text = unicodedata.normalize("NFC", base + "".join(order[:num_composed])) + "".join(order[num_composed:])
            if unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", char):
                yield text


def _is_variant(char: str, kind: str) -> bool:
    """Whether `char`, with a compatibility decomposition of this `kind`, is only another form of the same letters."""
    plain = unicodedata.normalize("NFKC", char)
    if kind in ("wide", "narrow", "initial", "medial", "final", "isolated"):
        return all(unicodedata.category(part)[0] in "LMN" for part in plain)
    return kind in ("compat", "font") and ord(char) in (*_LIGATURES, *_DIGRAPHS)


def _with_normalizer(model: bytes, spec: bytes) -> bytes:
    kept = [(key, value) for key, value in fields(model) if key != _NORMALIZER]
    return b"".join(_field(key, value) for key, value in [*kept, (_NORMALIZER, spec)])


def _field(key: int, value: bytes) -> bytes:
    """Encode a field; the inverse of `fields`."""
    return _varint(key) + (_varint(len(value)) if key % 8 == SIZED else b"") + value


def _varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])
