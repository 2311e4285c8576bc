"""Languages and packing in the names of files, such as corpus.en.gz."""

import re
from collections.abc import Iterable
from pathlib import Path

PACKED_SUFFIXES = (".gz", ".xz", ".zst")

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_NOT_LANGUAGES = {
    "txt", "src", "tgt", "trg", "ref", "hyp", "raw", "tok", "bpe", "spm", "low", "new", "old", "out", "all", "doc",
    "csv", "xml", "sgm", "tsv", "tmx", "zip", "tar", "bz", "gz", "xz", "zst", "md", "log", "lst", "bak", "ids",
}  # fmt: skip
"""Suffixes that look like a language code and rarely are one."""


def plain_name(path: Path) -> Path:
    """`path` without the suffix of a packed file."""
    return path.with_suffix("") if path.suffix in PACKED_SUFFIXES else path


def language_of_name(name: str) -> str | None:
    """The language code that a file name ends in, if any."""
    suffix = plain_name(Path(name)).suffix.removeprefix(".")
    return suffix if _LANGUAGE.fullmatch(suffix) and suffix not in _NOT_LANGUAGES else None


def languages_of_names(names: Iterable[str]) -> list[str]:
    """The languages of files that exist in several languages under one name."""
    languages: dict[str, dict[str, None]] = {}
    for name in names:
        if (language := language_of_name(name)) is not None:
            languages.setdefault(str(plain_name(Path(name)).with_suffix("")), {})[language] = None
    return list({language: None for several in languages.values() if len(several) > 1 for language in sorted(several)})
