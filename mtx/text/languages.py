"""Languages by their codes: BCP 47 tags such as en, pt-BR, zho_Hans or iw. All comparisons of codes are made here."""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from mtx.config.sources import LANGUAGE_PATTERN

# Codes by names of languages, in English or their own
NAMES = {
    "english": "en", "german": "de", "deutsch": "de", "french": "fr", "spanish": "es", "italian": "it", "dutch": "nl",
    "portuguese": "pt", "polish": "pl", "czech": "cs", "russian": "ru", "turkish": "tr", "arabic": "ar", "hindi": "hi",
    "chinese": "zh", "japanese": "ja", "korean": "ko",
}  # fmt: skip


def is_language_code(text: str) -> bool:
    """Whether `text` is a valid tag of a length that configs allow. `x-NAME` is valid: it is for private use."""
    from langcodes import tag_is_valid

    return re.fullmatch(LANGUAGE_PATTERN, text) is not None and tag_is_valid(text)


@lru_cache(4096)
def base_language(code: str) -> str:
    """Return the language of a code in two letters if possible, without script and region: `zh` for zho_Hans."""
    tag = _parsed(code)
    if tag is None or tag.language is None:
        return code_without_region(code)
    return "no" if tag.language == "nb" else str(tag.language)  # Norwegian without more is Bokmål


def code_without_region(code: str) -> str:
    """Return the language part of a code in lower case, otherwise as written: `en` for EN-US."""
    return re.split("[-_]", code.lower())[0]


@lru_cache(4096)
def macrolanguage(code: str) -> str:
    """Return the macrolanguage of a code, such as `ar` for arz or `zh` for yue, or else its own language."""
    from langcodes.data_dicts import MACROLANGUAGES

    return MACROLANGUAGES.get(base_language(code)) or base_language(code)


@lru_cache(4096)
def script_of(code: str) -> str | None:
    """Return the ISO 15924 code of the script of a language: the one in its code, or else the usual one, if known."""
    tag = _parsed(code)
    if tag is None or tag.script is not None:
        return None if tag is None else str(tag.script)
    from langcodes.data_dicts import LIKELY_SUBTAGS

    return tag.maximize().script if tag.language in LIKELY_SUBTAGS else None


@lru_cache(4096)
def language_in(script: str) -> str:
    """Return the code of the language that is usually written in a script, by its ISO 15924 code: `zh` for Hani."""
    from langcodes import Language

    language = str(Language.make(script=script).maximize().language)
    return language if script_of(language) == script or script == "Hani" else f"{language}-{script}"


@lru_cache(4096)
def nearest_code(code: str) -> str:
    """Return the code that a user may have meant by `code`: ja for jp, which is a country; else `code` itself."""
    from langcodes import Language

    if code.lower() in NAMES:
        return NAMES[code.lower()]
    first = re.split("[-_]", code)[0]
    country = Language.make(territory=first.upper()).maximize() if len(first) == 2 else None
    return code if country is None or country.language in (None, "en") else str(country.language)


def matching_codes(wanted: str, codes: Collection[str]) -> list[str]:
    """List the `codes` that mean `wanted`: the same text, else the same tag, else variants, else a more general one.

    `pt` matches pt-BR and pt-PT. `pt-BR` matches pt_br, or else pt if no other variant is there.
    """
    if wanted in codes:
        return [wanted]
    meant = parts_of(wanted)
    same = [code for code in codes if parts_of(code) == meant]
    narrower = [code for code in codes if is_variant(code, wanted)]
    wider = [code for code in codes if base_language(code) == base_language(wanted)]
    return same or narrower or (wider if all(is_variant(wanted, code) for code in wider) else [])


def is_variant(code: str, language: str) -> bool:
    """Whether `code` means `language` or a variant of it: pt-BR is one of pt."""
    return all(wide in (None, part) for part, wide in zip(parts_of(code), parts_of(language), strict=True))


def is_same_language(one: str, other: str) -> bool:
    """Whether two codes mean the same language, or one a variant of the other."""
    return bool(matching_codes(one, [other]))


@lru_cache(4096)
def _parsed(code: str) -> Any:
    """Parse a code into an object of `langcodes`, in the canonical form; None if it is not one."""
    from langcodes import Language
    from langcodes.tag_parser import LanguageTagError

    try:
        return Language.get(code).prefer_macrolanguage()
    except LanguageTagError:
        return None


@lru_cache(4096)
def parts_of(code: str) -> tuple[str, str | None, str | None]:
    """Return language, script and region of a code. With a region alone, the script is the usual one there."""
    tag = _parsed(code)
    if tag is None:
        return base_language(code), None, None
    return base_language(code), script_of(code) if tag.script or tag.territory else None, tag.territory
