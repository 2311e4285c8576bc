"""Sentence boundaries in running text: where a line can be cut so that each part is a sentence of its own.

A mark of the Unicode class Sentence_Terminal ends a sentence, in every script. After a full stop, sentencex knows the
abbreviations of 300 languages; the rules here prevent the wrong cuts that it still makes. In doubt, a text is not cut.
"""

import re
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import regex

from mtx.text.abbreviations import NEVER_LAST, abbreviations, first_words, ordinary_words
from mtx.text.languages import base_language

NEARBY = 40  # Characters before and after a mark that are looked at: longer than any abbreviation
MAX_COUNTED_SENTENCES = 16  # Largest count of sentences in a line; with more it is this
CACHED_ANSWERS = 1 << 16  # Answers of sentencex that are kept, about 15 MB

# Marks that may end a sentence, with closing quotes and brackets, or a tab. U+104A is the comma of Burmese.
_CANDIDATE = (
    r"(?P<mark>(?:(?!\u104a)[\p{{STerm}}…‥༎{own}])+(?:[ \u00a0][.!?…]+)*|፡፡)"
    r"""(?P<closing>(?:["'’\p{{Pe}}\p{{Pf}}]|\p{{Pi}}(?=[\s\p{{Pe}}]))*(?:\s?»(?=\s))?)(?P<space>\s*+)(?=\S)|\t\s*+"""
)
_MAY_END = re.compile("[.!?;:\t\u037e\u0589-\U0010ffff]")  # All marks and more: a fast test that most lines fail
_OWN_MARKS = {"el": ";\u037e", "hy": ":"}  # Marks of one language: the Greek question mark; Armenian as it is typed
_UNSPACED = regex.compile(r"[。！？｡．‼⁇⁈⁉।॥۔؟።፧፨։។៕။༎፡]$|[\p{Han}\p{Kana}\p{Hira}][!?]+$")  # Need no space after

_WORD = regex.compile(r"[\p{L}\p{N}]")
_UPPER = regex.compile(r"\p{Lu}")
_OPENING = regex.compile(r"""(?:['’][nst]\s(?=\p{Lu}))?["'’\p{Ps}\p{Pi}\p{Pf}\p{Pd}¿¡*•·]*\s*""")  # Dutch: "'s Avonds"
_LIST_NUMBER = regex.compile(r"\A\d{1,3}[.)．]\s*(?=[\p{Lu}\p{Lo}])")
_NUMBERING = regex.compile(r"""[\s"'“„«(\[（]*(?:\d{1,3}|[IVXLCDM]+|[一二三四五六七八九十]{1,3})""")
_NEVER_FIRST = regex.compile(r"[[\p{Po}\p{Pe}]--[#@§¶¿¡*†‡%]]", regex.V1)  # Punctuation that begins no sentence
_LAST_WORD = regex.compile(r"""(?r)(?:[^\s"“„‚‘«»\p{Ps}\p{Han}\p{Kana}\p{Hira}]+|(?<=\p{Hebrew})"(?=\p{Hebrew}))*""")
_ELISION = regex.compile(r"(?:qu|\p{L})['’](?=\p{L}{2})", regex.I)  # French and Italian: "l'art."
# A number that may be one, or a date: years are longer
_ORDINAL = regex.compile(r"(?<![\d.,:])(?:[0-3]?\d\.(?:1[0-2]|0?[1-9])|\d{1,3})$|^[IVXLCDM]+$")
_NUMBER = regex.compile(r"\d|[IVXLC]{2,}\b")
_ONE_LETTER = regex.compile(r"(?=\p{L})(?!\p{Hangul})\X$|.*[\p{Thai}\p{Lao}]$")
_DOTTED = regex.compile(r"(?=.*\.)(?:\p{L}{1,2}[.-]+)+\p{L}{1,2}$")  # "z.B", "U.S", "Ph.D", "c.-à-d"
_CONSONANTS = "bcdfghjklmnpqrstvwxzßćčďđłńňřśšťźžбвгджзклмнпрстфхцчшщ"
_NO_VOWEL = regex.compile(rf"[{_CONSONANTS}{_CONSONANTS.upper()}][{_CONSONANTS}]{{1,4}}$")  # "Hbf", "млн"
_MEASURE = regex.compile(r"\d\s?(?:[kcdmµ]?[mgl]|[hst%])$")  # "45 kg"
# Languages that write ordinal numbers with a full stop, and those with words that have no vowel
_WITH_ORDINALS = (
    *("az", "bs", "cs", "da", "de", "dsb", "et", "eu", "fi", "fo", "gsw", "hr", "hsb", "hu", "is", "ja", "ko", "lb"),
    *("lv", "nds", "nn", "no", "pl", "sk", "sl", "sr", "tr", "zh"),
)
_WITH_SYLLABIC_R = ("bs", "cs", "cy", "hr", "mk", "sk", "sl", "sr")


def split_sentences(text: str, language: str) -> list[str]:
    """Cut `text` into its sentences, each with the white space that follows it. Joined, they are `text`.

    A tab ends a sentence, too. Each sentence has a letter or a digit, if `text` has any.
    """
    if not _MAY_END.search(text.rstrip()[:-1]):
        return [text]
    base = base_language(language)
    candidates = list(_candidates(base).finditer(text, 0, len(text.rstrip())))
    is_cased, ends, scanned, has_word = bool(candidates and _UPPER.search(text)), [0], 0, False
    for match in candidates:
        has_word = has_word or _WORD.search(text, scanned, match.end()) is not None
        scanned = match.end()
        if has_word and ("\t" in match[0] or _ends_sentence(text, ends[-1], match, base, is_cased)):
            ends.append(match.end())
            has_word = False
    if len(ends) > 1 and _WORD.search(text, ends[-1]) is None:
        ends.pop()
    return [text[start:end] for start, end in pairwise([*ends, len(text)])]


@cache
def _candidates(language: str) -> Any:
    return regex.compile(_CANDIDATE.format(own=_OWN_MARKS.get(language, "")))


def _ends_sentence(text: str, begin: int, match: Any, language: str, is_cased: bool) -> bool:
    """Whether the mark that `match` found ends the sentence that begins at `begin`."""
    mark, start, end = match["mark"], match.start(), match.end()
    begins = _OPENING.match(text, end).end()
    after = text[begins : begins + NEARBY]
    first = after[:1]
    needs_no_space = _UNSPACED.search(text[start - 1 : match.end("mark")])
    if not first or _NEVER_FIRST.match(first) or (first.islower() and is_cased and not needs_no_space):
        return False
    if not match["space"]:
        between_digits = first.isdigit() and text[start - 1].isdigit()
        goes_on = match["closing"] and "ぁ" <= first <= "ゖ"  # A particle after a quotation: 「はい。」と言った
        if between_digits or goes_on or not needs_no_space:
            return False
    nearby = max(begin, start - NEARBY)
    if nearby == begin and not set(mark) & set("!?！？؟") and _NUMBERING.fullmatch(text, begin, start):
        return False
    word = _LAST_WORD.match(text, nearby, start)[0].strip("'’-–—")
    if mark == "!":
        return not word or _sentencex_cuts(language, f"{word}!", after.split()[0].capitalize())  # "Yahoo! Inc."
    if not set(mark) <= set(".．…‥ \u00a0"):
        return True
    if mark not in (".", "．"):  # an ellipsis
        return first.isupper() and len(word) != 1
    if not word or word[-1] in ")]" or (_MEASURE.search(text, nearby, start) and not first.isdigit()):
        return True
    return not _is_abbreviated(word, after, language)


def _is_abbreviated(word: str, after: str, language: str) -> bool:
    """Whether the full stop after `word` belongs to an abbreviation, an ordinal number or an initial."""
    precedes_number, after = _NUMBER.match(after), _LIST_NUMBER.sub("", after, count=1)
    next_word = after.split()[0]
    if language in ("fr", "it"):
        word = _ELISION.sub("", word, count=1)
    if _ONE_LETTER.match(word):
        return True
    if _ORDINAL.search(word):
        return after[0].isdigit() or (language in _WITH_ORDINALS and next_word not in first_words(language))
    is_short = _DOTTED.match(word) or (_NO_VOWEL.match(word) and language not in _WITH_SYLLABIC_R)
    if precedes_number:  # "Abs. 2", "Sept. 30", but not "dog. 3 cats"
        if is_short or word.lower() in abbreviations(language) or word in ordinary_words(language):
            return True
        if not _NUMBER.match(after):
            next_word = "Aa"
        elif len(word) <= 4 and not word.islower():
            return True
    if word in ordinary_words(language):
        return False
    if is_short or word.lower() in abbreviations(language):
        return word.lower() in NEVER_LAST or next_word not in first_words(language)
    return not _sentencex_cuts(language, f"{word}.", next_word.capitalize())


@lru_cache(CACHED_ANSWERS)
def _sentencex_cuts(language: str, word: str, after: str) -> bool:
    from sentencex import segment

    return len(segment(language, f"{word} {after}".replace('"', ""))) > 1  # between two it never cuts
