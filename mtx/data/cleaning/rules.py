"""Rules for pairs that are not worth training on: one for each way in which parallel text is known to be wrong."""

import re
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from inspect import signature
from typing import Any

from mtx.config.settings import ANY_RATIO, CleanSettings
from mtx.data.cleaning.damage import is_damaged
from mtx.errors import ExitCode, UserError
from mtx.text.languages import base_language, macrolanguage
from mtx.text.writing_systems import scripts_of, share_in

LENGTH_OFFSET = 15  # Characters added to both sides before their ratio is taken: that of single words varies widely
MIN_LETTERS = 4  # Letters that a text needs for its script to be judged
MIN_LETTERS_FOR_LANGUAGE = 20  # Letters that a text needs for its language to be identified
MIN_PROBABILITY = 0.9  # Probability above which an identified language counts

_MARKUP = re.compile(r"</?[A-Za-z][A-Za-z0-9]{0,15}(?:\s[^<>]{0,200})?/?>|&(?:[A-Za-z]{2,8}|#\d{1,6});")
_IDEOGRAPHS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SYLLABLES = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_NUMBER = re.compile(r"\d+(?:[.,\u00a0\u202f']\d+)*")
_SEPARATORS = re.compile(r"[.,\u00a0\u202f']")

Rule = Callable[[str, str], bool]  # Returns whether to drop a pair


def is_unlike_in_length(src: str, tgt: str, max_ratio: float) -> bool:
    """Whether one side is more than `max_ratio` times as long as the other."""
    shorter, longer = sorted((size_of(src) + LENGTH_OFFSET, size_of(tgt) + LENGTH_OFFSET))
    return longer > max_ratio * shorter


def size_of(text: str) -> int:
    """The length of `text` in characters of an alphabet: an ideograph counts as three, a syllable as two."""
    if text.isascii():
        return len(text)
    return len(text) + 2 * len(_IDEOGRAPHS.findall(text)) + len(_SYLLABLES.findall(text))


def has_damage(src: str, tgt: str) -> bool:
    """Whether a side has characters that result from a wrong encoding."""
    return is_damaged(src) or is_damaged(tgt)


def lacks_letters(src: str, tgt: str) -> bool:
    """Whether a side has no letter: a number or an id, for example."""
    return not (any(map(str.isalpha, src)) and any(map(str.isalpha, tgt)))


def has_unequal_markup(src: str, tgt: str) -> bool:
    """Whether exactly one side has tags or entities of HTML."""
    if not any(mark in text for text in (src, tgt) for mark in "<&"):
        return False
    return bool(_MARKUP.search(src)) != bool(_MARKUP.search(tgt))


def is_copy(src: str, tgt: str) -> bool:
    """Whether both sides are the same text, with letters and regardless of case."""
    return src.strip().casefold() == tgt.strip().casefold() and any(map(str.isalpha, src))


def is_in_another_script(src: str, tgt: str, src_lang: str, tgt_lang: str) -> bool:
    """Whether most letters of a side are in a script that its language does not use."""
    sides = ((src, scripts_of(src_lang)), (tgt, scripts_of(tgt_lang)))
    judged = [side for side in sides if side[1] and sum(map(str.isalpha, side[0])) >= MIN_LETTERS]
    return any(share_in(text, scripts) < 0.5 for text, scripts in judged)


def has_other_numbers(src: str, tgt: str) -> bool:
    """Whether at least two, and more than half, of the numbers on one side are missing on the other.

    Separators are ignored, and so are numbers of one digit, which are often written as words.
    """
    numbers = ([_SEPARATORS.sub("", number) for number in _NUMBER.findall(text)] for text in (src, tgt))
    sides = [Counter(number for number in found if len(number) > 1) for found in numbers]
    missing = sides[0] - sides[1], sides[1] - sides[0]
    return any(2 <= lost.total() > side.total() / 2 for lost, side in zip(missing, sides, strict=True))


def is_in_another_language(src: str, tgt: str, src_lang: str, tgt_lang: str) -> bool:
    """Whether a side is almost certainly in the wrong language."""
    identifier = _identifier()
    for text, language in ((src, src_lang), (tgt, tgt_lang)):
        if _is_identified(language) and sum(map(str.isalpha, text)) >= MIN_LETTERS_FOR_LANGUAGE:
            guess, probability = identifier.classify(text)
            is_expected = base_language(language) in (base_language(guess), macrolanguage(guess))
            if probability > MIN_PROBABILITY and not is_expected:
                return True
    return False


# The reason that each rule gives, and the rule, by its key under `clean`. The first rule that a pair breaks counts.
# After the two texts, a rule takes languages (`src_lang`, `tgt_lang`) and settings of `clean` by their names.
RULES: dict[str, tuple[str, Callable[..., bool]]] = {
    "damage": ("damaged by a wrong encoding", has_damage),
    "letters": ("without letters on a side", lacks_letters),
    "markup": ("with markup on one side", has_unequal_markup),
    "copies": ("copies", is_copy),
    "script": ("in another script", is_in_another_script),
    "numbers": ("with other numbers", has_other_numbers),
    "language": ("in another language", is_in_another_language),
    "max_ratio": ("of unlike lengths", is_unlike_in_length),
}


def enabled_rules(clean: CleanSettings, src_lang: str, tgt_lang: str) -> dict[str, Rule]:
    """The rules that a config enables, by their reasons.

    Raises:
        UserError: a package that a rule needs is not installed (MACHINE).
    """
    if clean.language == "drop":
        _identifier()
    options = {"src_lang": src_lang, "tgt_lang": tgt_lang, **dict(clean)}
    return {
        reason: partial(rule, **{name: options[name] for name in list(signature(rule).parameters)[2:]})
        for key, (reason, rule) in RULES.items()
        if options[key] not in ("keep", ANY_RATIO)
    }


def repair(text: str) -> str:
    """Mend damaged Unicode in a line of text."""
    return text if text.isascii() else load_fixer()(text).replace("\n", " ")


@cache
def load_fixer() -> Callable[[str], str]:
    """The function that mends damaged Unicode.

    Raises:
        UserError: its package is not installed (MACHINE).
    """
    ftfy = _import("ftfy", "clean.repair")
    # Correct text stays unchanged: NFC only, and quotes and the wide punctuation of Chinese as they are.
    config = ftfy.TextFixerConfig(
        uncurl_quotes=False, unescape_html=False, fix_character_width=False, max_decode_length=1_000_000
    )
    return partial(ftfy.fix_text, config=config)


@cache
def _identifier() -> Any:
    langid = _import("py3langid.langid", "clean.language")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


@cache
def _is_identified(language: str) -> bool:
    """Whether the identifier, which has its own codes, knows `language` in the script that its code names."""
    is_usual = scripts_of(language) == scripts_of(base_language(language))  # Serbian in Latin looks Croatian
    return is_usual and base_language(language) in map(base_language, _identifier().nb_classes)


def _import(module: str, key: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package, do = module.partition(".")[0], "Install mtx[clean], or set the key to its default."
        raise UserError(ExitCode.MACHINE, f"{key} needs {package}, which is not installed", do=do) from error
