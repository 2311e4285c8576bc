"""The sources in a folder, told by the names of its files."""

import logging
from pathlib import Path, PurePath
from typing import Any

from mtx.config.sources import Folder, HubDataset, Jsonl, Source, Tmx, Tsv, TwoFiles, Zip
from mtx.data.sources.packed import plain_name
from mtx.data.sources.tables import SUFFIXES as TABLE_SUFFIXES
from mtx.errors import ExitCode, UserError

_log = logging.getLogger("mtx")


def expand(sources: tuple[Source, ...], src_lang: str, tgt_lang: str) -> tuple[Source, ...]:
    """`sources` with those in a folder, each by itself, in place of the folder.

    Raises:
        UserError: see `find_sources`.
    """
    expanded: list[Source] = []
    for source in sources:
        expanded += find_sources(source, src_lang, tgt_lang) if isinstance(source, Folder) else [source]
    return tuple(expanded)


def find_sources(source: Folder, src_lang: str, tgt_lang: str) -> list[Source]:
    """The sources in a folder, by name. Of two files FILE.en and FILE.de, both may be packed.

    Raises:
        UserError: no such folder, none in it, or one of two files without the other (DATA); not a pattern (USAGE).
    """
    if not source.folder.is_dir():
        do = "Give a folder that exists."
        raise UserError(ExitCode.DATA, "no such folder", where=str(source.folder), do=do)
    files = {path.relative_to(source.folder): path for path in matching_files(source)}
    plain: dict[Path, Path] = {}
    for name, path in files.items():
        if (twin := plain.setdefault(plain_name(name), path)) is not path:
            what, do = f"{twin.name} and {path.name} are the same file by name", "Take one away, or narrow match."
            raise UserError(ExitCode.DATA, what, where=str(source.folder), do=do)
    found: list[Source] = []
    left_out = []
    for name, path in plain.items():
        options: dict[str, Any] = {"weight": source.weight, "tag": source.tag}
        match name.suffix:
            case ".tsv":
                found.append(Tsv(tsv=path, **options))
            case ".jsonl":
                found.append(Jsonl(jsonl=path, **options))
            case ".tmx":
                found.append(Tmx(tmx=path, **options))
            case ".zip":
                found.append(Zip(zip=path, **options))
            case suffix if suffix in TABLE_SUFFIXES:
                found.append(HubDataset(dataset=str(path), **options))
            case suffix if suffix == f".{src_lang}":
                other = _other_side(plain, name, tgt_lang, source)
                found.append(TwoFiles(src=path, tgt=other, **options))
            case suffix if suffix == f".{tgt_lang}":
                _other_side(plain, name, src_lang, source)
            case _:
                left_out.append(str(name))
    if not found:
        what = f"no parallel files among {len(files)} that match {source.match}"
        do = f"Give files FILE.{src_lang} and FILE.{tgt_lang}, .tsv, .jsonl, .tmx, .zip or .parquet."
        raise UserError(ExitCode.DATA, what, where=str(source.folder), do=do)
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        _log.info("%s: no parallel text, left out: %s%s", source.folder, ", ".join(left_out[:5]), more)
    return found


def matching_files(source: Folder) -> list[Path]:
    """The files in a folder that it asks for, in the order of their names.

    Raises:
        UserError: (USAGE) its pattern is none, or leaves the folder.
    """
    pattern = PurePath(source.match)
    if pattern.is_absolute() or ".." in pattern.parts:
        do = "Give names below the folder, such as *.tmx."
        raise UserError(ExitCode.USAGE, f"match {source.match} leaves the folder", where=str(source.folder), do=do)
    try:
        paths = list(source.folder.glob(source.match))
    except ValueError as error:
        what = f"match {source.match} is no pattern: {error}"
        raise UserError(ExitCode.USAGE, what, where=str(source.folder), do="Give one such as *.tmx.") from error
    return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))


def _other_side(plain: dict[Path, Path], name: Path, language: str, source: Folder) -> Path:
    other = name.with_suffix(f".{language}")
    if other not in plain:
        where, do = f"{source.folder}/{name}", "Add the other side, or narrow match."
        raise UserError(ExitCode.DATA, f"no {other.name} beside {name.name}", where=where, do=do)
    return plain[other]
