"""The interface of a source of parallel text, and what the names of its files tell: languages and packing."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

from mtx.config.sources import Source, SourceSettings
from mtx.data.sources.variants import Variants
from mtx.errors import ExitCode, UserError
from mtx.text.languages import is_language_code, matching_codes

Pair = tuple[str, str]  # A source sentence and its translation


class NoPair(tuple[str, str]):
    """An empty pair that stands for a row without a pair, with the reason, so that pair n comes from row n."""

    reason: str  # Reason to drop the row, by which reports count rows
    text: str  # Beginning of the row
    fault: tuple[str, str, str] | None  # Problem, location and remedy; None if nothing is wrong, as with a header

    @classmethod
    def of(cls, reason: str, text: str, fault: tuple[str, str, str] | None = None) -> Self:
        row = cls(("", ""))
        row.reason, row.text, row.fault = reason, text[:MAX_SHOWN_CHARS], fault
        return row

    def error(self, prefix: str = "") -> UserError:
        """The error for a row with a fault (DATA); `prefix` begins its message."""
        what, where, do = self.fault or (self.reason, "", "Correct it.")
        return UserError(ExitCode.DATA, prefix + what, where=where, do=do)


MAX_SHOWN_CHARS = 1000  # Characters that are kept of a row without a pair, for reports
NUM_CHECKED = 100  # Rows among which `check` looks for a first pair

PACKED_SUFFIXES = (".gz", ".xz", ".zst")

# Suffixes that are valid language codes, but in file names mean something else.
_NOT_LANGUAGES = {
    "all", "bak", "bpe", "csv", "doc", "ids", "log", "low", "lst", "new", "old", "raw", "sgm", "spm", "src", "tar",
    "tgt", "trg", "tsv", "txt", "xml",
}  # fmt: skip

Settings = TypeVar("Settings", bound=SourceSettings)

UNRELATED_TO_CONTENT = {
    "weight",
    "streaming",
}  # Settings that decide how often or in which way pairs are read, not which


class Languages(NamedTuple):
    """The languages that the names or headers of files mention."""

    codes: Sequence[str] = ()
    are_ordered: bool = False  # Whether the codes are those of the source and the target, in this order


class Reader(ABC, Generic[Settings]):
    """Reads one source. A new kind is a subclass in a file beside this one, and a class of `SourceSettings`."""

    settings_type: ClassVar[type[SourceSettings]]
    suffixes: ClassVar[tuple[str, ...]] = ()  # Suffixes of files that are a source of this kind
    location: ClassVar[
        tuple[str, ...]
    ] = ()  # Settings, other than paths, that say where the data is, not what it holds

    def __init__(self, settings: Settings, variants: Variants | None = None) -> None:
        self.settings = settings
        self.variants = variants or Variants()  # Codes found for the two languages

    @classmethod
    def settings_for(cls, path: Path, split: str, **options: Any) -> Source:
        """Settings for a file with one of the `suffixes`; only data sets have a `split`."""
        kind = next(iter(cls.settings_type.ordered_fields()))
        return cls.settings_type(**{kind: path}, **options)  # type: ignore[arg-type, return-value]

    @abstractmethod
    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        """All (source, target) pairs in order. Nothing is dropped: a sentence that is empty or missing is "".

        In a file of lines, pair n comes from line n; it is a `NoPair` if that can't be read.

        Raises:
            UserError: a file is missing, damaged, or as a whole not in the expected form (DATA).
        """

    @property
    def label(self) -> str:
        """The name of the source in messages and model cards, without folders."""
        return " and ".join(path.name for path in self.files())

    def files(self) -> list[Path]:
        """The files of text; none for what is not on this machine."""
        return [value for _, value in self.settings if isinstance(value, Path)]

    def content_files(self) -> list[Path]:
        """The files that decide the pairs; if there are none, only the pairs themselves tell what they are."""
        return self.files()

    def content_options(self) -> str:
        """The settings that decide which pairs the files give, as JSON."""
        # Later settings are omitted at their defaults, so that earlier runs keep their key.
        defaults = {"encoding": "utf-8", "tag": None, "header": False, "src_lang": None, "tgt_lang": None}
        omitted = {key for key, default in defaults.items() if getattr(self.settings, key, default) == default}
        omitted |= {key for key, value in self.settings if isinstance(value, Path) or key in self.location}
        return self.settings.model_dump_json(exclude=omitted | UNRELATED_TO_CONTENT)

    def check(self, src_lang: str, tgt_lang: str) -> None:
        """Read to the first pair, so that an error, such as for a missing file, is raised before long work begins."""
        first: NoPair | None = None
        for pair in islice(self.pairs(src_lang, tgt_lang), NUM_CHECKED):
            if not isinstance(pair, NoPair):
                return
            first = first or (pair if pair.fault else None)
        if first is not None:
            raise first.error()

    def parts(self, src_lang: str, tgt_lang: str) -> list[Source]:
        """The sources that this one consists of: itself, unless it is a folder."""
        return [self.settings]  # type: ignore[list-item]

    def languages(self) -> Languages:
        """The languages that the files mention."""
        return Languages()


def not_found(what: str, where: str, kind: str, choices: Sequence[str]) -> UserError:
    """The error for a column, file or language that does not exist; `choices` are those of this `kind` that do."""
    listed = ", ".join(choices[:10]) + (", …" if len(choices) > 10 else "")
    do = f"Set src and tgt of the source to two of its {kind}: {listed or 'none'}."
    return UserError(ExitCode.DATA, what, where=where, do=do)


def name_of(language: str, names: Collection[str], where: str, kind: str) -> str:
    """The name among `names`, which are of this `kind` (columns or languages), that means `language`.

    Raises:
        UserError: there is none, or several variants (DATA).
    """
    if language in names:
        return language
    found = matching_codes(language, names)
    if len(found) == 1:
        return found[0]
    what = f"several {kind} for {language}" if found else f"no {kind.removesuffix('s')} {language}"
    raise not_found(what, where, kind, found or list(names))


def as_read(pair: Pair) -> Pair:
    """The pair; for a row without one, its text and an empty target."""
    return (pair.text, "") if isinstance(pair, NoPair) else pair


def plain_name(path: Path) -> Path:
    """`path` without the suffix of a packed file."""
    return path.with_suffix("") if path.suffix.lower() in PACKED_SUFFIXES else path


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
