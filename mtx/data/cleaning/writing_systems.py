"""The writing systems (Unicode scripts) of languages and texts."""

from collections import Counter
from functools import cache
from typing import Any

import regex

_LATIN = (
    "af az bs ca cs cy da de en eo es et eu fi fo fr ga gl ha hr hu id is it jv lb lt lv mg ms mt nb nl nn no oc pl pt "
    "ro sk sl so sq sv sw tl tr uz vi xh yo zu"
)
# Unicode scripts by language. Languages that are not listed may have any.
SCRIPTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_LATIN.split(), ("Latin",)),
    **dict.fromkeys(["be", "bg", "kk", "ky", "mk", "mn", "ru", "tg", "uk"], ("Cyrillic",)),
    **dict.fromkeys(["ar", "fa", "ps", "ur", "ug", "sd"], ("Arabic",)),
    **dict.fromkeys(["hi", "mr", "ne", "sa"], ("Devanagari",)),
    **dict.fromkeys(["bn", "as"], ("Bengali",)),
    **dict.fromkeys(["am", "ti"], ("Ethiopic",)),
    "sr": ("Cyrillic", "Latin"), "el": ("Greek",), "he": ("Hebrew",), "yi": ("Hebrew",), "hy": ("Armenian",),
    "ka": ("Georgian",), "th": ("Thai",), "lo": ("Lao",), "km": ("Khmer",), "my": ("Myanmar",), "si": ("Sinhala",),
    "ta": ("Tamil",), "te": ("Telugu",), "kn": ("Kannada",), "ml": ("Malayalam",), "gu": ("Gujarati",),
    "pa": ("Gurmukhi", "Arabic"), "or": ("Oriya",), "zh": ("Han",), "ja": ("Han", "Hiragana", "Katakana"),
    "ko": ("Hangul", "Han"), "bo": ("Tibetan",), "dz": ("Tibetan",),
}  # fmt: skip

_ALL_SCRIPTS = tuple(sorted({script for scripts in SCRIPTS.values() for script in scripts}))


def scripts_of(language: str) -> tuple[str, ...]:
    """The scripts of `language`; none if not known."""
    return SCRIPTS.get(regex.split("[-_]", language.lower())[0], ())


def share_in(text: str, scripts: tuple[str, ...]) -> float:
    """The share of the letters of `text` that is in `scripts`; 1 if it has no letters."""
    if text.isascii() and scripts == ("Latin",):
        return 1.0
    num_letters = sum(map(str.isalpha, text))
    return sum(len(run) for run in _letters_of(scripts).findall(text)) / num_letters if num_letters else 1.0


def script_counts(text: str) -> Counter[str]:
    """Count the letters of `text` by script, as reports name it: LATIN, CJK …; "other" if no known language uses it."""
    counts: Counter[str] = Counter()
    for char, count in Counter(text).items():
        if char.isalpha():
            counts[_script_of(char)] += count
    return counts


@cache
def _script_of(char: str) -> str:
    script = next((script for script in _ALL_SCRIPTS if _letters_of((script,)).match(char)), "other")
    return script if script == "other" else {"Han": "CJK"}.get(script, script.upper())


@cache
def _letters_of(scripts: tuple[str, ...]) -> Any:
    """Runs of letters in `scripts`."""
    union = "".join(rf"\p{{Script={script}}}" for script in scripts)
    return regex.compile(rf"[[{union}]&&[\p{{L}}]]+", regex.VERSION1)
