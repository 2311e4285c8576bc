"""Settings of each kind of data source. A source's kind is given by the key that only this kind has."""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)
from pydantic.fields import FieldInfo


def _expand_home(value: Any) -> Any:
    """`value` with `~` expanded if it is text. A Path can no longer tell ./~ from ~."""
    return os.path.expanduser(value) if isinstance(value, str) else value


FilePath = Annotated[Path, Field(strict=False), BeforeValidator(_expand_home)]  # `load_config` makes it absolute
Encoding = Literal[  # In each of these the byte LF is a line end and nothing else
    "utf-8", "latin-1", "iso-8859-2", "iso-8859-5", "iso-8859-7", "iso-8859-9", "iso-8859-15",
    "cp1250", "cp1251", "cp1252", "koi8-r",
]  # fmt: skip
SrcColumn = Annotated[int, Field(ge=1, le=10_000, description="Column of the source sentence, counted from 1.")]
TgtColumn = Annotated[int, Field(ge=1, le=10_000, description="Column of the target sentence, counted from 1.")]
Header = Annotated[bool, Field(description="Whether the first line names the columns.")]
LANGUAGE_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,31}$"
Language = Annotated[str, Field(pattern=LANGUAGE_PATTERN)]


class SourceSettings(BaseModel, extra="forbid", frozen=True, strict=True):
    """Base class of a source's settings, with the keys that every kind has. Add each kind to `Source` below.

    The first field that a kind adds is the key that names it.
    """

    example: ClassVar[str]  # A source of this kind as written in a config
    weight: float = Field(default=1.0, gt=0, le=1000, description="How often each pair occurs in an epoch.")
    tag: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$",
        description="Tag before each source sentence: 2de adds <2de>.",
    )
    src_lang: Language | None = Field(default=None, description="Source language of this text; default: data.src_lang.")
    tgt_lang: Language | None = Field(default=None, description="Target language of this text; default: data.tgt_lang.")

    @classmethod
    def ordered_fields(cls) -> dict[str, FieldInfo]:
        """The fields of this kind, then those that every kind has."""
        shared = SourceSettings.model_fields
        return {name: each for name, each in cls.model_fields.items() if name not in shared} | shared

    @model_serializer(mode="wrap")
    def _in_order(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialize(self)
        return {name: values[name] for name in self.ordered_fields() if name in values}

    def languages(self, src_lang: str, tgt_lang: str) -> tuple[str, str]:
        """The source and the target language; `src_lang` and `tgt_lang` are those of the whole data."""
        return self.src_lang or src_lang, self.tgt_lang or tgt_lang


class TwoFiles(SourceSettings, extra="forbid", frozen=True, strict=True):
    """Two text files, plain or compressed (gz, xz, zst). Line n of one translates line n of the other."""

    example: ClassVar[str] = "{src: FILE, tgt: FILE}"
    src: FilePath = Field(description="File of source sentences, one per line.")
    tgt: FilePath = Field(description="File of target sentences, one per line.")
    encoding: Encoding = Field(default="utf-8", description="Encoding of both files.")


class Tsv(SourceSettings, extra="forbid", frozen=True, strict=True):
    """One file with tab-separated columns. Quotes have no special meaning."""

    example: ClassVar[str] = "{tsv: FILE}"
    tsv: FilePath = Field(description="File with one pair per line, columns separated by tabs.")
    src: SrcColumn = 1
    tgt: TgtColumn = 2
    header: Header = False
    encoding: Encoding = Field(default="utf-8", description="Encoding of the file.")


class Csv(SourceSettings, extra="forbid", frozen=True, strict=True):
    """One CSV file, as spreadsheets write it. A line break in a quoted field becomes a space."""

    example: ClassVar[str] = "{csv: FILE}"
    csv: FilePath = Field(description="CSV file, plain or compressed.")
    src: SrcColumn = 1
    tgt: TgtColumn = 2
    header: Header = False
    delimiter: Literal["auto", "comma", "semicolon", "tab"] = Field(
        default="auto", description="Column separator; auto: the one that gives most lines the same number of columns."
    )
    encoding: Encoding = Field(default="utf-8", description="Encoding of the file.")


class Jsonl(SourceSettings, extra="forbid", frozen=True, strict=True):
    """One file with a JSON object on each line."""

    example: ClassVar[str] = "{jsonl: FILE}"
    jsonl: FilePath = Field(description="File with one JSON object per line.")
    src: str | None = Field(default=None, description="Field of the source; default: src, then the language code.")
    tgt: str | None = Field(default=None, description="Field of the target; default: tgt, then the language code.")


class Tmx(SourceSettings, extra="forbid", frozen=True, strict=True):
    """A translation memory in TMX. Units that lack one of the two languages are dropped as empty."""

    example: ClassVar[str] = "{tmx: FILE}"
    tmx: FilePath = Field(description="TMX file, plain or compressed.")
    src: str | None = Field(default=None, description="xml:lang of the source; default: the language code.")
    tgt: str | None = Field(default=None, description="xml:lang of the target; default: the language code.")


class Zip(SourceSettings, extra="forbid", frozen=True, strict=True):
    """A zip archive from OPUS: a pair of files in Moses format, or TMX files, all of which are read."""

    example: ClassVar[str] = "{zip: FILE}"
    zip: FilePath = Field(description="Zip archive with one file per language, or with TMX files.")
    src: str | None = Field(default=None, description="Source file in it; default: the one with the language code.")
    tgt: str | None = Field(default=None, description="Target file in it; default: the one with the language code.")


class Folder(SourceSettings, extra="forbid", frozen=True, strict=True):
    """All parallel files in a folder, found by name: FILE.en and FILE.de, and files of any other kind of source.

    CSV files are read only if `match` names them, such as *.csv.
    """

    example: ClassVar[str] = "{folder: FOLDER}"
    folder: FilePath = Field(description="Folder with files of any of these kinds, plain or compressed.")
    match: str = Field(
        default="*", min_length=1, description="Pattern of file names, such as *.tmx; **/* also searches subfolders."
    )


class HubDataset(SourceSettings, extra="forbid", frozen=True, strict=True):
    """A data set that Hugging Face `datasets` loads. Only this kind of source may use the network."""

    example: ClassVar[str] = "{dataset: ID}"
    dataset: str = Field(min_length=1, description="Hub id (owner/name), or a local Arrow or Parquet file or folder.")
    name: str | None = Field(default=None, description="Configuration of the data set, if it has several.")
    split: str = Field(default="train", description="Split of the data set.")
    src: str | None = Field(default=None, description="Column of the source sentence; default: the language code.")
    tgt: str | None = Field(default=None, description="Column of the target sentence; default: the language code.")
    streaming: bool = Field(default=False, description="Stream it from the hub instead of downloading it first.")


class Demo(SourceSettings, extra="forbid", frozen=True, strict=True):
    """A split of the built-in synthetic English-German corpus."""

    example: ClassVar[str] = "{demo: SPLIT}"
    demo: Literal["train", "dev", "test", "pronouns"] = Field(description="Split of the built-in corpus.")


def _kind_of_source(value: Any) -> str:
    """Return the tag of the kind of source that `value` is: the key that only this kind has."""
    keys = value if isinstance(value, dict) else dir(value)
    return next((tag for tag, kind in SOURCE_KINDS.items() if tag in kind.model_fields and tag in keys), "files")


Source = Annotated[
    Annotated[TwoFiles, Tag("files")]
    | Annotated[Tsv, Tag("tsv")]
    | Annotated[Csv, Tag("csv")]
    | Annotated[Jsonl, Tag("jsonl")]
    | Annotated[Tmx, Tag("tmx")]
    | Annotated[Zip, Tag("zip")]
    | Annotated[Folder, Tag("folder")]
    | Annotated[HubDataset, Tag("dataset")]
    | Annotated[Demo, Tag("demo")],
    Discriminator(_kind_of_source),
]


def _as_list(value: Any) -> Any:
    """Put a single source into a list, and None into an empty one."""
    return [] if value is None else [value] if isinstance(value, dict | SourceSettings) else value


# The dev or the test sets: one source or a list of them
HeldOutSets = Annotated[
    tuple[Source, ...],
    Field(strict=False),
    BeforeValidator(_as_list, json_schema_input_type=Source | list[Source] | None),
]

SOURCE_KINDS: dict[str, type[SourceSettings]] = {
    tag.tag: kind for kind, tag in map(get_args, get_args(get_args(Source)[0]))
}
"""Settings of each kind of source, by its tag in `Source`, which pydantic puts into the location of an error."""
