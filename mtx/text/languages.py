"""Languages by their codes: BCP 47 tags such as en, pt-BR, zho_Hans or iw. All comparisons of codes are made here."""

import re
from collections.abc import Collection
from functools import cache
from typing import Any

from mtx.config.sources import LANGUAGE_PATTERN


def is_language_code(text: str) -> bool:
    """Whether `text` is a valid tag of a length that configs allow. `x-NAME` is valid: it is for private use."""
    from langcodes import tag_is_valid

    return re.fullmatch(LANGUAGE_PATTERN, text) is not None and tag_is_valid(text)


@cache
def base_language(code: str) -> str:
    """Return the language of a code in two letters if possible, without script and region: `zh` for zho_Hans."""
    tag = _parsed(code)
    if tag is None or tag.language is None:
        return re.split("[-_]", code.lower())[0]
    return "no" if tag.language == "nb" else str(tag.language)  # Norwegian without more is Bokmål


@cache
def macrolanguage(code: str) -> str:
    """Return the language that the one of `code` is a variety of: `ar` for arz, `zh` for yue; or its own."""
    from langcodes.data_dicts import MACROLANGUAGES

    return MACROLANGUAGES.get(base_language(code)) or base_language(code)


@cache
def script_of(code: str) -> str | None:
    """Return the ISO 15924 code of the script of a language: the one in its code, else the usual one, if known."""
    tag = _parsed(code)
    if tag is None or tag.script is not None:
        return None if tag is None else str(tag.script)
    from langcodes.data_dicts import LIKELY_SUBTAGS

    return tag.maximize().script if tag.language in LIKELY_SUBTAGS else None


@cache
def language_in(script: str) -> str:
    """Return the code of the language that is usually written in a script, by its ISO 15924 code: `zh` for Hani."""
    from langcodes import Language

    language = str(Language.make(script=script).maximize().language)
    return language if script_of(language) == script or script == "Hani" else f"{language}-{script}"


@cache
def nearest_code(code: str) -> str:
    """Return the language code that a user who wrote `code` may mean: ja for jp, a country. Itself if there is none."""
    from langcodes import Language

    first = re.split("[-_]", code)[0]
    country = Language.make(territory=first.upper()).maximize() if len(first) == 2 else None
    return code if country is None or country.language in (None, "en") else str(country.language)


def matching_codes(wanted: str, codes: Collection[str]) -> list[str]:
    """Return those of `codes` that mean `wanted`: the same text, else the same tag, else a wider or narrower one.

    `pt` matches pt-BR and pt-PT; `pt-BR` matches pt_br, or else pt, but never pt-PT.
    """
    if wanted in codes:
        return [wanted]
    meant = _parts(wanted)
    same = [code for code in codes if _parts(code) == meant]
    return same or [code for code in codes if _are_compatible(_parts(code), meant)]


def is_same_language(one: str, other: str) -> bool:
    """Whether two codes mean the same language, or one of them a variety of the other."""
    return bool(matching_codes(one, [other]))


@cache
def _parsed(code: str) -> Any:
    """Parse a code into an object of `langcodes`, in the canonical form; None if it is not one."""
    from langcodes import Language
    from langcodes.tag_parser import LanguageTagError

    try:
        return Language.get(code).prefer_macrolanguage()
    except LanguageTagError:
        return None


@cache
def _parts(code: str) -> tuple[str, str | None, str | None]:
    """Return language, script and region of a code; a region without a script has that which is usual there."""
    tag = _parsed(code)
    if tag is None:
        return base_language(code), None, None
    return base_language(code), script_of(code) if tag.script or tag.territory else None, tag.territory


def _are_compatible(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> bool:
    return all(None in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True))
