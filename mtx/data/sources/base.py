"""The interface of a source of parallel text: all that the rest of mtx asks of one."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from mtx.config.sources import Source, SourceSettings
from mtx.errors import ExitCode, UserError

Pair = tuple[str, str]  # A source sentence and its translation

Settings = TypeVar("Settings", bound=SourceSettings)

UNRELATED_TO_CONTENT = {"weight", "streaming"}
"""Options that say how often or by which way pairs are read, but not which pairs."""


class Languages(NamedTuple):
    """The languages that the names or headers of files mention."""

    src: str | None = None
    tgt: str | None = None  # None where the files do not say which language is the source and which the target
    mentioned: Sequence[str] = ()


class Reader(ABC, Generic[Settings]):
    """Reads one source. A new kind of source is a subclass, listed in `mtx.data.sources.read`, and its settings."""

    settings_type: ClassVar[type[SourceSettings]]
    path_keys: ClassVar[tuple[str, ...]] = ()  # The settings that say where the source is, not what is in it
    suffixes: ClassVar[tuple[str, ...]] = ()  # Suffixes of files that are a source of this kind

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def settings_for(cls, path: Path, split: str, **options: Any) -> Source:
        """Settings for a file with one of the `suffixes`; only data sets have a `split`."""
        settings: Source = cls.settings_type(**{cls.path_keys[0]: path}, **options)  # type: ignore[assignment]
        return settings

    @abstractmethod
    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        """All (source, target) pairs in order. Nothing is dropped; empty sentences are "".

        Raises:
            UserError: a file is missing, damaged or not in the expected form (DATA).
        """

    @property
    def label(self) -> str:
        """The name of the source in messages and model cards, without folders."""
        return " and ".join(path.name for path in self.files())

    @property
    def encoding(self) -> str:
        return str(getattr(self.settings, "encoding", "utf-8"))

    def files(self) -> list[Path]:
        """The files of text; none for what is not on this machine."""
        return [getattr(self.settings, key) for key in self.path_keys]

    def content_files(self) -> list[Path]:
        """The files that decide the pairs; if there are none, only the pairs themselves tell what they are."""
        return self.files()

    def content_options(self) -> str:
        """The settings that decide which pairs the files give, as JSON."""
        # Default encoding and tag are omitted, so that runs begun before these settings existed keep their key.
        omitted = {"encoding"} if self.encoding == "utf-8" else set()
        omitted |= {"tag"} if getattr(self.settings, "tag", None) is None else set()
        return self.settings.model_dump_json(exclude=omitted | UNRELATED_TO_CONTENT | {*self.path_keys})

    def check(self, src_lang: str, tgt_lang: str) -> None:
        """Read the first pair, so that a missing file is noticed before long work begins.

        Raises:
            UserError: see `pairs`.
        """
        next(self.pairs(src_lang, tgt_lang), None)

    def parts(self, src_lang: str, tgt_lang: str) -> list[Source]:
        """The sources that this one consists of: itself, unless it is a folder.

        Raises:
            UserError: see `FolderReader.parts`.
        """
        return [self.settings]  # type: ignore[list-item]

    def languages(self) -> Languages:
        """The languages that the files mention."""
        return Languages()


def not_found(what: str, where: str, kind: str, choices: Sequence[str]) -> UserError:
    """The error for a column, file or language that does not exist; `choices` are those of this `kind` that do."""
    listed = ", ".join(choices[:10]) + (", …" if len(choices) > 10 else "")
    do = f"Set src and tgt of the source to two of its {kind}: {listed or 'none'}."
    return UserError(ExitCode.DATA, what, where=where, do=do)
