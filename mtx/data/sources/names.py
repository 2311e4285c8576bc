"""Languages and packing in the names of files, such as corpus.en.gz."""

from collections.abc import Iterable
from pathlib import Path

from mtx.text.languages import is_language_code

PACKED_SUFFIXES = (".gz", ".xz", ".zst")

_NOT_LANGUAGES = {
    "all", "bak", "bpe", "csv", "doc", "ids", "log", "low", "lst", "new", "old", "raw", "sgm", "spm", "src", "tar",
    "tgt", "trg", "tsv", "txt", "xml",
}  # fmt: skip
"""Suffixes that are valid language codes, but in file names mean something else."""


def plain_name(path: Path) -> Path:
    """`path` without the suffix of a packed file."""
    return path.with_suffix("") if path.suffix in PACKED_SUFFIXES else path


def language_of_name(name: str) -> str | None:
    """The language code that a file name ends in, if any."""
    suffix = plain_name(Path(name)).suffix.removeprefix(".")
    return suffix if is_language_code(suffix) and suffix.lower() not in _NOT_LANGUAGES else None


def languages_of_names(names: Iterable[str]) -> list[str]:
    """The languages of files that exist in several languages under one name."""
    languages: dict[str, dict[str, None]] = {}
    for name in names:
        if (language := language_of_name(name)) is not None:
            languages.setdefault(str(plain_name(Path(name)).with_suffix("")), {})[language] = None
    return list({language: None for several in languages.values() if len(several) > 1 for language in sorted(several)})
