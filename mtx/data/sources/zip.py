"""Pairs in zip archives as OPUS gives them: two files in Moses format, or one TMX file; read without unpacking."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, cast

from mtx.config.sources import Zip
from mtx.data.sources.packed import plain_name
from mtx.data.sources.text import stream_lines
from mtx.data.sources.tmx import read_tmx
from mtx.errors import ExitCode, UserError

BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways of packing that are undone a block at a time; what zipfile does of others may take any memory."""

_DO = "Set src and tgt of the source to two of its files: "


def read_zip(source: Zip, src_lang: str, tgt_lang: str) -> Iterator[tuple[str, str]]:
    """The pairs in a zip archive.

    Raises:
        UserError: (DATA) no zip, damaged, encrypted, packed in an unusual way, no two files that fit, unequal
            numbers of lines.
    """
    with _errors_explained(source.zip), zipfile.ZipFile(source.zip) as archive:
        names = _names(archive)
        memories = [name for name in names if plain_name(Path(name)).name.lower().endswith(".tmx")]
        if source.src is None and source.tgt is None and len(memories) == 1:
            with _open(archive, source, memories[0]) as stream:
                yield from read_tmx(stream, _place(source, memories[0]), src_lang, tgt_lang)
            return
        members = _members(source, names, src_lang, tgt_lang)
        with _open(archive, source, members[0]) as src_stream, _open(archive, source, members[1]) as tgt_stream:
            streams = zip(members, (src_stream, tgt_stream), strict=True)
            sides = [_lines(stream, _place(source, member)) for member, stream in streams]
            counts = [0, 0]
            for src, tgt in zip_longest(*sides):
                counts[0] += src is not None
                counts[1] += tgt is not None
                if src is not None and tgt is not None:
                    yield src, tgt
        if counts[0] != counts[1]:
            what = f"{members[0]} has {counts[0]} lines, {members[1]} {counts[1]}"
            do = "Line n of each must translate the other's."
            raise UserError(ExitCode.DATA, what, where=str(source.zip), do=do)


def member_names(path: Path) -> list[str]:
    """The names of the files in a zip archive.

    Raises:
        UserError: (DATA) no zip, or damaged.
        OSError: it can't be read.
    """
    with _errors_explained(path), zipfile.ZipFile(path) as archive:
        return _names(archive)


def _names(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if not name.endswith("/")]


def _members(source: Zip, names: list[str], src_lang: str, tgt_lang: str) -> tuple[str, str]:
    """The names of the two files to read."""
    listed = ", ".join(sorted(names)[:10]) + (", …" if len(names) > 10 else "")
    for given in (source.src, source.tgt):
        if given is not None and given not in names:
            raise UserError(ExitCode.DATA, f"no file {given}", where=str(source.zip), do=f"{_DO}{listed}.")
    src = (
        [source.src] if source.src else [name for name in names if plain_name(Path(name)).name.endswith(f".{src_lang}")]
    )
    tgt = (
        [source.tgt] if source.tgt else [name for name in names if plain_name(Path(name)).name.endswith(f".{tgt_lang}")]
    )
    if len(src) == len(tgt) == 1:
        return src[0], tgt[0]
    what = f"no two files that end in .{src_lang} and .{tgt_lang}"
    if src and tgt:
        what = f"{len(src)} files that end in .{src_lang}, {len(tgt)} in .{tgt_lang}"
    raise UserError(ExitCode.DATA, what, where=str(source.zip), do=f"{_DO}{listed or 'it is empty'}.")


def _open(archive: zipfile.ZipFile, source: Zip, member: str) -> BinaryIO:
    if archive.getinfo(member).compress_type not in BOUNDED:
        what, do = "packed in a way that takes any memory to undo", "Pack it as zip does by default, or unpack it."
        raise UserError(ExitCode.DATA, what, where=_place(source, member), do=do)
    return cast(BinaryIO, archive.open(member))


def _place(source: Zip, member: str) -> str:
    return f"{source.zip}: {member}"


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for group in stream_lines(stream, name):
        yield from group


@contextmanager
def _errors_explained(path: Path) -> Iterator[None]:
    """Turn what the library raises of a damaged archive into one line for the user."""
    try:
        yield
    except _DAMAGE as error:
        what, do = f"damaged zip, or none: {error}".rstrip(": "), "Get the file again."
        raise UserError(ExitCode.DATA, what, where=str(path), do=do) from error
    except RuntimeError as error:
        if "password" not in str(error) and "encrypted" not in str(error):
            raise
        raise UserError(ExitCode.DATA, "an encrypted zip", where=str(path), do="Unpack it yourself.") from error


_DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, NotImplementedError,
    UnicodeDecodeError,
)  # fmt: skip
"""What zipfile raises for a damaged archive, NotImplementedError for one that it cannot unpack.

The last is of the names of its files: text is decoded elsewhere, with an error of its own.
"""
