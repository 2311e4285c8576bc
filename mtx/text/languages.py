"""Language codes: BCP 47 tags such as en, pt-BR or zho_Hans."""

import re
from functools import cache

from mtx.config.settings import LANGUAGE_PATTERN


def is_language_code(text: str) -> bool:
    """Whether `text` is a valid tag of a length that configs allow. `x-NAME` is valid: it is for private use."""
    from langcodes import tag_is_valid

    return re.fullmatch(LANGUAGE_PATTERN, text) is not None and tag_is_valid(text)


@cache
def base_language(code: str) -> str:
    """The language of a code in two letters if possible, without script and region: `zh` for zho_Hans."""
    first = re.split("[-_]", code.lower())[0]
    if not (len(first) == 3 and first.isascii() and first.isalpha()):
        return first
    from langcodes import Language

    return Language.get(first).prefer_macrolanguage().language or first
