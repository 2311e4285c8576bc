"""Which script a language is written in, and which a text is in."""

import re
import sys
import unicodedata
from collections import Counter
from functools import cache

_LATIN = (
    "af az bs ca cs cy da de en eo es et eu fi fo fr ga gl ha hr hu id is it jv lb lt lv mg ms mt nb nl nn no oc pl pt "
    "ro sk sl so sq sv sw tl tr uz vi xh yo zu"
)
SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_LATIN.split(), ("LATIN",)),
    **dict.fromkeys(["be", "bg", "kk", "ky", "mk", "mn", "ru", "tg", "uk"], ("CYRILLIC",)),
    **dict.fromkeys(["ar", "fa", "ps", "ur", "ug", "sd"], ("ARABIC",)),
    **dict.fromkeys(["hi", "mr", "ne", "sa"], ("DEVANAGARI",)),
    **dict.fromkeys(["bn", "as"], ("BENGALI",)),
    **dict.fromkeys(["am", "ti"], ("ETHIOPIC",)),
    "sr": ("CYRILLIC", "LATIN"), "el": ("GREEK",), "he": ("HEBREW",), "yi": ("HEBREW",), "hy": ("ARMENIAN",),
    "ka": ("GEORGIAN",), "th": ("THAI",), "lo": ("LAO",), "km": ("KHMER",), "my": ("MYANMAR",), "si": ("SINHALA",),
    "ta": ("TAMIL",), "te": ("TELUGU",), "kn": ("KANNADA",), "ml": ("MALAYALAM",), "gu": ("GUJARATI",),
    "pa": ("GURMUKHI", "ARABIC"), "or": ("ORIYA",), "zh": ("CJK",), "ja": ("CJK", "HIRAGANA", "KATAKANA"),
    "ko": ("HANGUL", "CJK"), "bo": ("TIBETAN",), "dz": ("TIBETAN",),
}  # fmt: skip
"""Scripts by language, as the names of their characters begin; languages that are not here may have any."""


def scripts_of(language: str) -> tuple[str, ...]:
    """The scripts that `language` is written in; none where that is not known."""
    return SCRIPTS.get(re.split("[-_]", language.lower())[0], ())


def share_in(text: str, scripts: tuple[str, ...]) -> float | None:
    """Which share of the letters of `text` is of `scripts`; None where it has no letters."""
    if text.isascii() and scripts == ("LATIN",):
        return 1.0 if any(map(str.isalpha, text)) else None
    num_letters = sum(map(str.isalpha, text))
    if not num_letters:
        return None
    return sum(len(found) for found in _letters_of(scripts).findall(text)) / num_letters


def script_counts(text: str) -> Counter[str]:
    """Letters of `text` by the script that their names begin with."""
    counts: Counter[str] = Counter()
    for char, count in Counter(text).items():
        if char.isalpha():
            counts[unicodedata.name(char, "other").split(" ")[0]] += count
    return counts


@cache
def _letters_of(scripts: tuple[str, ...]) -> re.Pattern[str]:
    """Runs of letters of `scripts`."""
    ranges: list[list[int]] = []
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if char.isalpha() and unicodedata.name(char, "").split(" ")[0] in scripts:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return re.compile("[" + "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges) + "]+")
