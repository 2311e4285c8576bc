"""Rules for pairs that are not worth training on: one for each way in which parallel text is known to be wrong."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, Self

from mtx.config.settings import ANY_RATIO, CleanSettings
from mtx.data.cleaning.writing_systems import scripts_of, share_in
from mtx.data.sources.base import Pair
from mtx.errors import ExitCode, UserError

MAX_SENTENCE_BYTES = 1_000_000  # Longer sentences are always dropped

LENGTH_OFFSET = 15
"""Characters added to both sides before their ratio is computed, because the ratio of single words varies widely."""

MIN_LETTERS = 4  # Letters that a text needs for its script to be judged
MIN_LETTERS_FOR_LANGUAGE = 20  # Letters that a text needs for its language to be identified

_DAMAGE = re.compile(
    "\ufffd|[\x00-\x08\x0e-\x1f\x7f-\x9f]|\u00c3[\u0080-\u00bf]|\u00c2[\u0080-\u00bf]"
    "|\u00e2\u20ac[\u2122\u0153\u201c\u201d\u02dc\u00a6]|[\ue000-\uf8ff]"
)
"""Replacement characters, control characters, UTF-8 decoded as Latin-1 or Windows-1252, and private use."""

_MARKUP = re.compile(r"</?[A-Za-z][A-Za-z0-9]{0,15}(?:\s[^<>]{0,200})?/?>|&(?:[A-Za-z]{2,8}|#\d{1,6});")
_IDEOGRAPHS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SYLLABLES = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_NUMBER = re.compile(r"\d+(?:[.,\u00a0\u202f']\d+)*")
_SEPARATORS = re.compile(r"[.,\u00a0\u202f']")

Rule = Callable[[str, str], bool]  # Returns whether to drop a pair


@dataclass(frozen=True, slots=True)
class Cleaner:
    """The rules of a config, by the reason that they give for dropping a pair."""

    rules: dict[str, Rule]
    is_repaired: bool

    def repaired(self, pair: Pair) -> Pair:
        """`pair`, with damaged Unicode repaired if the config asks for it."""
        return (_repaired(pair[0]), _repaired(pair[1])) if self.is_repaired else pair

    def drop_reason(self, pair: Pair) -> str | None:
        """The first reason to drop `pair`, if any."""
        return next((reason for reason, rule in self.rules.items() if rule(*pair)), None)

    def with_rules(self, rules: Mapping[str, Rule]) -> Self:
        """A copy with additional `rules`, which replace those for the same reason."""
        return replace(self, rules={**self.rules, **rules})


UNUSABLE = ("over 1 MB", "empty")  # Reasons to drop a pair under any config


def unusable_reason(pair: Pair) -> str | None:
    """The reason to drop a pair under any config, one of `UNUSABLE`; None if there is none."""
    for text in pair:
        if len(text) > MAX_SENTENCE_BYTES // 4 and len(text.encode()) > MAX_SENTENCE_BYTES:
            return UNUSABLE[0]
    return None if all(text.strip() for text in pair) else UNUSABLE[1]


def format_reasons(dropped: Mapping[str, int]) -> str:
    """Format counts by reason: `9 empty, 3 duplicate`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())


def format_kept(num_read: int, dropped: Mapping[str, int]) -> str:
    """Format counts in one line: `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 duplicate`."""
    what = f": dropped {format_reasons(dropped)}" if dropped else ""
    return f"kept {num_read - sum(dropped.values()):,} of {num_read:,} pairs{what}"


def nothing_kept(num_read: int, dropped: Mapping[str, int], where: str) -> UserError:
    """The error for sources of which no pair is left to train on."""
    why = f": dropped {format_reasons(dropped)}" if dropped else ""
    what = f"no pair of sentences to use among {num_read:,}{why}"
    return UserError(ExitCode.DATA, what, where=where, do="Give pairs with text on both sides.")


def build_cleaner(settings: CleanSettings, src_lang: str, tgt_lang: str) -> Cleaner:
    """The rules that `settings` enable.

    Raises:
        UserError: a package that a rule needs is not installed (MACHINE).
    """
    chosen: dict[str, tuple[str, Rule]] = {
        "damaged by a wrong encoding": (settings.damage, has_damage),
        "with markup on one side": (settings.markup, has_unequal_markup),
        "copies": (settings.copies, is_copy),
        "in another script": (settings.script, partial(is_in_another_script, src_lang=src_lang, tgt_lang=tgt_lang)),
        "with other numbers": (settings.numbers, has_other_numbers),
        "in another language": (
            settings.language,
            partial(is_in_another_language, src_lang=src_lang, tgt_lang=tgt_lang),
        ),
    }
    if settings.language == "drop":
        _identifier()
    if settings.repair:
        _fixer()
    rules = {reason: rule for reason, (verdict, rule) in chosen.items() if verdict == "drop"}
    if settings.max_ratio < ANY_RATIO:
        rules["of unlike lengths"] = partial(is_unlike_in_length, max_ratio=settings.max_ratio)
    return Cleaner(rules, settings.repair)


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
    return any((not text.isascii() and _DAMAGE.search(text)) or _has_controls(text) for text in (src, tgt))


def _has_controls(text: str) -> bool:
    return not text.isprintable() and _DAMAGE.search(text) is not None


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
    for text, language in ((src, src_lang), (tgt, tgt_lang)):
        scripts = scripts_of(language)
        if scripts and sum(map(str.isalpha, text)) >= MIN_LETTERS:
            share = share_in(text, scripts)
            if share is not None and share < 0.5:
                return True
    return False


def has_other_numbers(src: str, tgt: str) -> bool:
    """Whether at least two, and more than half, of the numbers on one side are missing on the other.

    Separators are ignored, and so are numbers of one digit, which are often written as words.
    """
    sides = [Counter(number for number in _numbers(text) if len(number) > 1) for text in (src, tgt)]
    missing = sides[0] - sides[1], sides[1] - sides[0]
    return any(2 <= lost.total() > side.total() / 2 for lost, side in zip(missing, sides, strict=True))


def _numbers(text: str) -> list[str]:
    return [_SEPARATORS.sub("", number) for number in _NUMBER.findall(text)]


def is_in_another_language(src: str, tgt: str, src_lang: str, tgt_lang: str) -> bool:
    """Whether a side is almost certainly in the wrong language."""
    return any(_is_not_in(text, language) for text, language in ((src, src_lang), (tgt, tgt_lang)))


MIN_PROBABILITY = 0.9  # Probability above which an identified language counts


def _is_not_in(text: str, language: str) -> bool:
    code = re.split("[-_]", language.lower())[0]
    identifier = _identifier()
    if code not in identifier.nb_classes or sum(map(str.isalpha, text)) < MIN_LETTERS_FOR_LANGUAGE:
        return False
    guess, probability = identifier.classify(text)
    return bool(guess != code and probability > MIN_PROBABILITY)


def can_identify_languages() -> bool:
    """Whether the package that `is_in_another_language` needs is installed."""
    return find_spec("py3langid") is not None


def can_repair() -> bool:
    """Whether the package that `Cleaner.repaired` needs is installed."""
    return find_spec("ftfy") is not None


@cache
def _identifier() -> Any:
    """The language identifier, loaded once."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise _missing("py3langid", "clean.language") from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _fixer() -> Callable[[str], str]:
    try:
        import ftfy
    except ImportError as error:
        raise _missing("ftfy", "clean.repair") from error
    # Correct text stays unchanged: NFC only, and quotes and the wide punctuation of Chinese as they are.
    config = ftfy.TextFixerConfig(
        uncurl_quotes=False, unescape_html=False, fix_character_width=False, max_decode_length=MAX_SENTENCE_BYTES
    )
    return partial(ftfy.fix_text, config=config)


def _repaired(text: str) -> str:
    return text if text.isascii() else _fixer()(text).replace("\n", " ")


def _missing(package: str, key: str) -> UserError:
    do = "Install mtx[clean], or set the key to its default."
    return UserError(ExitCode.MACHINE, f"{key} needs {package}, which is not installed", do=do)
