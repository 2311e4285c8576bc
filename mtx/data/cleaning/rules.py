"""Which pairs are worth training on: one rule for each way in which parallel text is known to be wrong."""

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

MAX_SENTENCE_BYTES = 1_000_000

LENGTH_OFFSET = 15
"""Characters that are added to both sides before their ratio is taken: one word may well be four."""

FEWEST_LETTERS = 4
"""A text with fewer says nothing of its script or language."""

_DAMAGE = re.compile(
    "\ufffd|[\x00-\x08\x0e-\x1f\x7f-\x9f]|\u00c3[\u0080-\u00bf]|\u00c2[\u0080-\u00bf]"
    "|\u00e2\u20ac[\u2122\u0153\u201c\u201d\u02dc\u00a6]|[\ue000-\uf8ff]"
)
"""What stands for undecodable bytes; control characters; UTF-8 read as Latin-1 or Windows-1252; private use."""

_MARKUP = re.compile(r"</?[A-Za-z][A-Za-z0-9]{0,15}(?:\s[^<>]{0,200})?/?>|&(?:[A-Za-z]{2,8}|#\d{1,6});")
_IDEOGRAPHS = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_SYLLABLES = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_NUMBER = re.compile(r"\d+(?:[.,\u00a0\u202f']\d+)*")
_SEPARATORS = re.compile(r"[.,\u00a0\u202f']")

Rule = Callable[[str, str], bool]
"""Whether a pair is to be dropped."""


@dataclass(frozen=True, slots=True)
class Cleaner:
    """The rules that look at text, by the reason that is given when they drop a pair."""

    rules: dict[str, Rule]
    is_repaired: bool

    def repaired(self, pair: Pair) -> Pair:
        """`pair`, mended if that is asked for."""
        return (_mended(pair[0]), _mended(pair[1])) if self.is_repaired else pair

    def fault(self, pair: Pair) -> str | None:
        """Why `pair` is dropped: the first reason that there is."""
        return next((reason for reason, rule in self.rules.items() if rule(*pair)), None)

    def with_rules(self, rules: Mapping[str, Rule]) -> Self:
        """The same with `rules`, too; these win."""
        return replace(self, rules={**self.rules, **rules})


def text_fault(pair: Pair) -> str | None:
    """Why nothing can be made of a pair, whatever the rules."""
    for text in pair:
        if len(text) > MAX_SENTENCE_BYTES // 4 and len(text.encode()) > MAX_SENTENCE_BYTES:
            return "over 1 MB"
    return None if all(text.strip() for text in pair) else "empty"


def reasons_in_words(dropped: Mapping[str, int]) -> str:
    """Such as `9 empty, 3 duplicate`."""
    return ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())


def kept_in_words(num_read: int, dropped: Mapping[str, int]) -> str:
    """One line, such as `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 duplicate`."""
    what = f": dropped {reasons_in_words(dropped)}" if dropped else ""
    return f"kept {num_read - sum(dropped.values()):,} of {num_read:,} pairs{what}"


def nothing_kept(num_read: int, dropped: Mapping[str, int], where: str) -> UserError:
    """What to tell the user where no pair of the sources is left to train on."""
    why = f": dropped {reasons_in_words(dropped)}" if dropped else ""
    what = f"no pair of sentences to use among {num_read:,}{why}"
    return UserError(ExitCode.DATA, what, where=where, do="Give pairs with text on both sides.")


def build_cleaner(settings: CleanSettings, src_lang: str, tgt_lang: str) -> Cleaner:
    """The rules that `settings` ask for.

    Raises:
        UserError: what one of them needs is not installed (MACHINE).
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
    """Characters of `text`, as many as it had in an alphabet: an ideograph counts as three, a syllable as two."""
    if text.isascii():
        return len(text)
    return len(text) + 2 * len(_IDEOGRAPHS.findall(text)) + len(_SYLLABLES.findall(text))


def has_damage(src: str, tgt: str) -> bool:
    """Whether there are characters that a wrong encoding leaves."""
    return any((not text.isascii() and _DAMAGE.search(text)) or _has_controls(text) for text in (src, tgt))


def _has_controls(text: str) -> bool:
    return not text.isprintable() and _DAMAGE.search(text) is not None


def has_unequal_markup(src: str, tgt: str) -> bool:
    """Whether tags or entities of HTML are on one side and not on the other."""
    if not any(mark in text for text in (src, tgt) for mark in "<&"):
        return False
    return bool(_MARKUP.search(src)) != bool(_MARKUP.search(tgt))


def is_copy(src: str, tgt: str) -> bool:
    """Whether the two sides are the same text, in letters."""
    return src.strip().casefold() == tgt.strip().casefold() and any(map(str.isalpha, src))


def is_in_another_script(src: str, tgt: str, src_lang: str, tgt_lang: str) -> bool:
    """Whether most letters of a side are of a script that its language is not written in."""
    for text, language in ((src, src_lang), (tgt, tgt_lang)):
        scripts = scripts_of(language)
        if scripts and sum(map(str.isalpha, text)) >= FEWEST_LETTERS:
            share = share_in(text, scripts)
            if share is not None and share < 0.5:
                return True
    return False


def has_other_numbers(src: str, tgt: str) -> bool:
    """Whether more than half of the numbers of a side, two at least, are missing on the other.

    Separators do not count, nor do numbers of one digit, which are often written as words.
    """
    sides = [Counter(number for number in _numbers(text) if len(number) > 1) for text in (src, tgt)]
    missing = sides[0] - sides[1], sides[1] - sides[0]
    return any(2 <= gone.total() > side.total() / 2 for gone, side in zip(missing, sides, strict=True))


def _numbers(text: str) -> list[str]:
    return [_SEPARATORS.sub("", number) for number in _NUMBER.findall(text)]


def is_in_another_language(src: str, tgt: str, src_lang: str, tgt_lang: str) -> bool:
    """Whether a side is surely in another language than its own."""
    return any(_is_surely_not(text, language) for text, language in ((src, src_lang), (tgt, tgt_lang)))


SURE = 0.9
"""The probability from which on a guess of the language counts."""


def _is_surely_not(text: str, language: str) -> bool:
    code = re.split("[-_]", language.lower())[0]
    identifier = _identifier()
    if code not in identifier.nb_classes or sum(map(str.isalpha, text)) < 5 * FEWEST_LETTERS:
        return False
    guess, probability = identifier.classify(text)
    return bool(guess != code and probability > SURE)


def can_tell_languages() -> bool:
    """Whether what `is_in_another_language` needs is installed."""
    return find_spec("py3langid") is not None


def can_repair() -> bool:
    """Whether what `Cleaner.repaired` needs is installed."""
    return find_spec("ftfy") is not None


@cache
def _identifier() -> Any:
    """What tells languages apart."""
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
    # NFC only, quotes and the wide punctuation of Chinese as they are: what is right is not changed.
    config = ftfy.TextFixerConfig(
        uncurl_quotes=False, unescape_html=False, fix_character_width=False, max_decode_length=MAX_SENTENCE_BYTES
    )
    return partial(ftfy.fix_text, config=config)


def _mended(text: str) -> str:
    return text if text.isascii() else _fixer()(text).replace("\n", " ")


def _missing(package: str, key: str) -> UserError:
    do = "Install mtx[clean], or set it to its default."
    return UserError(ExitCode.MACHINE, f"{key} needs {package}, which is not installed", do=do)
