"""The writing systems (Unicode scripts) of languages and texts."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import regex

from mtx.text.languages import base_language, language_in, script_of

_LATIN = (
    "af az bs ca cs cy da de en eo es et eu fi fo fr ga gl ha hr hu id is it jv lb lt lv mg ms mt nb nl nn no oc pl pt "
    "ro sk sl so sq sv sw fil tr uz vi xh yo zu"
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

# Scripts that put no spaces between words, by their ISO 15924 codes
SPACELESS = ("Thai", "Laoo", "Mymr", "Khmr", "Tibt", "Java", "Bali", "Lana", "Talu", "Tale", "Tavt", "Ahom")
_EAST_ASIAN = ("Hans", "Hant", "Hani", "Bopo", "Jpan", "Hira", "Kana", "Hrkt")
# Unicode scripts of ISO 15924 codes that stand for several, or for a form of one
_COMPOUND = {
    "Hans": ("Han",), "Hant": ("Han",), "Hani": ("Han",), "Jpan": ("Han", "Hiragana", "Katakana"),
    "Kore": ("Hangul", "Han"),
}  # fmt: skip
MIN_KANA = 0.05  # Share of kana among Han and kana letters above which a text is Japanese

_ALL_SCRIPTS = tuple(sorted({script for scripts in SCRIPTS.values() for script in scripts}))


@cache
def scripts_of(language: str) -> tuple[str, ...]:
    """Return the scripts of a language code: the one that it names, or else those of its language, if known."""
    language_alone, script = base_language(language), script_of(language)
    known, usual = _COMPOUND.get(script or "", ()), SCRIPTS.get(language_alone, ())
    is_one_of_several = len(usual) > 1 and str(script).lower() in language.lower()
    if known or (script in (None, script_of(language_alone)) and not is_one_of_several):
        return known or usual
    try:
        _letters_of((str(script),))
    except regex.error:  # no such script
        return ()
    return (str(script),)


def writes_spaces(language: str) -> bool:
    """Whether a language puts spaces between words, and so between sentences."""
    return script_of(language) not in (*SPACELESS, *_EAST_ASIAN)


def spaceless_language(texts: Iterable[str]) -> str | None:
    """Return the language of `texts` if their script is Korean or puts no spaces between words; else None.

    Chinese and Japanese are told apart by their share of kana.
    """
    counts = {char: count for char, count in Counter("".join(texts)).items() if char.isalpha()}
    han, kana, hangul, *others = (
        sum(count for char, count in counts.items() if _letters_of(scripts).match(char))
        for scripts in (("Han",), ("Hiragana", "Katakana"), ("Hangul",), *((script,) for script in SPACELESS))
    )
    chinese_or_japanese = han + kana, "Jpan" if kana > MIN_KANA * (han + kana) else "Hani"
    most, script = max(chinese_or_japanese, (hangul, "Kore"), *zip(others, SPACELESS, strict=True))
    # A letter of these scripts stands for about two of an alphabet.
    return language_in(script) if 2 * most > sum(counts.values()) - most else None


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
