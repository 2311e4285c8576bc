"""Zip archives as OPUS offers them: two files in Moses format, or TMX files. They are read without unpacking."""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

from mtx.config.sources import Zip
from mtx.data.sources.base import Languages, Pair, Reader, languages_of_names, not_found, plain_name
from mtx.data.sources.text import open_regular, stream_rows
from mtx.data.sources.tmx import languages_of_tmx, read_tmx
from mtx.data.sources.two_files import pair_lines
from mtx.errors import ExitCode, UserError
from mtx.system.logs import LOGGER
from mtx.text.languages import matching_codes

# Compression that `zipfile` undoes a block at a time; with other methods it may take any amount of memory.
BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# Exceptions of `zipfile` for damage, and NotImplementedError for kinds of archives that it cannot unpack.
# UnicodeDecodeError is about member names; text has errors of its own.
_DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, NotImplementedError,
    UnicodeDecodeError,
)  # fmt: skip


class ZipReader(Reader[Zip]):
    settings_type = Zip
    suffixes = (".zip",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        """The pairs of all TMX files, one after another, or of two files of text.

        Raises:
            UserError: not a zip, damaged, encrypted, compressed in an unusual way, no two matching files, or unequal
                numbers of lines (DATA).
        """
        path = self.settings.zip
        with open_regular(path) as file, _explain_damage(path), zipfile.ZipFile(file) as archive:
            names = _names(archive)
            tmx = [name for name in names if _is_tmx(name)]
            if tmx and self.settings.src is None and self.settings.tgt is None:
                _tell_unread(self.label, tuple(name for name in names if _is_text(name, src_lang, tgt_lang)))
                yield from read_tmx(self._open_each(archive, tmx), str(path), src_lang, tgt_lang, self.variants)
                return
            src, tgt = self._members(names, src_lang, tgt_lang)
            with self._open(archive, src) as src_stream, self._open(archive, tgt) as tgt_stream:
                sides = ((src_stream, src), (tgt_stream, tgt))
                lines = [stream_rows(stream, self._where(name)) for stream, name in sides]
                yield from pair_lines(lines, (src, tgt), lambda: str(path))

    def languages(self) -> Languages:
        try:
            with _explain_damage(self.settings.zip), zipfile.ZipFile(self.settings.zip) as archive:
                names = _names(archive)
                for name in filter(_is_tmx, names):
                    with self._open(archive, name) as stream:
                        return languages_of_tmx(stream, self._where(name))
                return Languages(languages_of_names(names))
        except (OSError, UserError):
            return Languages()  # reading the pairs will say what is wrong

    def _members(self, names: list[str], src_lang: str, tgt_lang: str) -> tuple[str, str]:
        """The names of the source file and the target file."""
        texts = sorted(name for name in names if not _is_tmx(name))
        members = []
        for name, language in ((self.settings.src, src_lang), (self.settings.tgt, tgt_lang)):
            if name is not None and name not in texts:
                raise self._not_found(f"no file {name}", texts, names)
            codes = {each: plain_name(Path(each)).suffix[1:] for each in texts}
            found = matching_codes(language, set(codes.values()))
            members.append([name] if name else [each for each in texts if codes[each] in found])
        src, tgt = members
        if len(src) == len(tgt) == 1:
            return src[0], tgt[0]
        what = f"no two files that end in .{src_lang} and .{tgt_lang}"
        if src and tgt:
            what = f"{len(src)} files that end in .{src_lang}, {len(tgt)} in .{tgt_lang}"
        raise self._not_found(what, texts, names)

    def _not_found(self, what: str, texts: Sequence[str], names: Sequence[str]) -> UserError:
        """The error for files that are not among `texts`, with a remedy that suits what the archive holds."""
        where = str(self.settings.zip)
        if len(texts) < len(names):
            return UserError(ExitCode.DATA, what, where=where, do="Omit src and tgt to read its TMX files.")
        if len(texts) == 1:
            return UserError(ExitCode.DATA, f"{what}, only {texts[0]}", where=where, do="Unpack it and give the file.")
        return not_found(what, where, "files", texts)

    def _open_each(self, archive: zipfile.ZipFile, members: Sequence[str]) -> Iterator[tuple[BinaryIO, str]]:
        """Each member with its name in messages. It is closed before the next is opened."""
        for member in members:
            with self._open(archive, member) as stream:
                yield stream, self._where(member)

    def _open(self, archive: zipfile.ZipFile, member: str) -> BinaryIO:
        if archive.getinfo(member).compress_type not in BOUNDED_METHODS:
            what = "compressed by a method that may take any amount of memory to undo"
            do = "Compress it with the default method of zip, or unpack it."
            raise UserError(ExitCode.DATA, what, where=self._where(member), do=do)
        return cast(BinaryIO, archive.open(member))

    def _where(self, member: str) -> str:
        return f"{self.settings.zip}: {member}"


def _names(archive: zipfile.ZipFile) -> list[str]:
    """The files, except those that macOS adds for attributes: ._NAME for NAME, .DS_Store for a folder."""
    names = [name for name in archive.namelist() if not name.endswith("/")]
    return [name for name in names if not Path(name).name.startswith((".DS_", "._"))]


def _is_tmx(name: str) -> bool:
    return plain_name(Path(name)).name.lower().endswith(".tmx")


def _is_text(name: str, *languages: str) -> bool:
    """Whether a file holds text in one of `languages`, or a table, by its name."""
    suffix = plain_name(Path(name)).suffix[1:].lower()
    return suffix in ("tsv", "csv", "jsonl") or any(matching_codes(language, [suffix]) for language in languages)


@cache  # told once, however often the archive is read
def _tell_unread(name: str, files: Sequence[str]) -> None:
    if files:
        LOGGER.warning("%s: not read beside its TMX files: %s", name, ", ".join(files[:5]))


@contextmanager
def _explain_damage(path: Path) -> Iterator[None]:
    """Turn whatever the library raises for a damaged archive into one line for the user."""
    try:
        yield
    except _DAMAGE as error:
        what = f"damaged, or not a zip archive: {error}".rstrip(": ")
        raise UserError(ExitCode.DATA, what, where=str(path), do="Get the file again.") from error
    except RuntimeError as error:
        if "password" not in str(error):
            raise
        raise UserError(ExitCode.DATA, "encrypted zip archive", where=str(path), do="Decrypt it first.") from error
