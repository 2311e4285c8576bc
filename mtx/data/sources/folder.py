"""All sources in a folder, recognised by the names of their files."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from mtx.config.sources import Folder, Source, SourceSettings, TwoFiles
from mtx.data.sources.base import Languages, Pair, Reader, languages_of_names, plain_name
from mtx.data.sources.read import read_pairs, reader, readers_by_suffix
from mtx.data.sources.variants import Variants
from mtx.errors import ExitCode, UserError
from mtx.system.logs import LOGGER
from mtx.text.languages import matching_codes


class FolderReader(Reader[Folder]):
    settings_type = Folder

    @property
    def label(self) -> str:
        return f"{self.settings.folder.name}/{self.settings.match}"

    def files(self) -> list[Path]:
        """The files that match the pattern, sorted by name.

        Raises:
            UserError: the pattern is invalid or leaves the folder (USAGE).
        """
        folder, match = self.settings.folder, self.settings.match
        pattern = PurePath(match)
        if pattern.is_absolute() or ".." in pattern.parts:
            do = "Give names below the folder, such as *.tmx."
            raise UserError(ExitCode.USAGE, f"match {match} leaves the folder", where=str(folder), do=do)
        try:
            paths = list(folder.glob(match))
        except ValueError as error:
            what = f"match {match} is not a valid pattern: {error}"
            raise UserError(ExitCode.USAGE, what, where=str(folder), do="Give one such as *.tmx.") from error
        return sorted(path for path in paths if path.is_file() and not path.name.startswith("."))

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        for part in self.parts(src_lang, tgt_lang):
            yield from read_pairs(part, src_lang, tgt_lang, variants=self.variants)

    def check(self, src_lang: str, tgt_lang: str) -> None:
        for part in self.parts(src_lang, tgt_lang):
            reader(part).check(src_lang, tgt_lang)

    def languages(self) -> Languages:
        return Languages(languages_of_names(path.name for path in self.files()))

    def parts(self, src_lang: str, tgt_lang: str) -> list[Source]:
        """The sources in the folder, sorted by name. Either of two files FILE.en and FILE.de may be packed.

        Raises:
            UserError: no such folder, no source in it, one of two files without the other, or several variants of a
                language (DATA); see `files`.
        """
        folder, match = self.settings.folder, self.settings.match
        if not folder.is_dir():
            raise UserError(ExitCode.DATA, "no such folder", where=str(folder), do="Give a folder that exists.")
        by_suffix, files = readers_by_suffix(), self._by_plain_name()
        if ".csv" not in match:
            del by_suffix[".csv"]  # earlier versions could not read CSV: their runs keep their sources
        options = {name: getattr(self.settings, name) for name in SourceSettings.model_fields}
        parts: list[Source] = []
        ignored: list[str] = []
        variants = Variants()
        for name, path in files.items():
            if (kind := by_suffix.get(name.suffix)) is not None:
                parts.append(kind.settings_for(path, "train", **options))
                continue
            codes = [other.suffix[1:] for other in files if other.with_suffix("") == name.with_suffix("")]
            src, tgt = self._side(name, codes, src_lang), self._side(name, codes, tgt_lang)
            if name.suffix[1:] not in (src, tgt):
                ignored.append(str(name))
            elif src is None or tgt is None:
                other = name.with_suffix(f".{tgt_lang if tgt is None else src_lang}")
                where, do = f"{folder}/{name}", "Add the other side, or narrow match."
                raise UserError(ExitCode.DATA, f"no {other.name} beside {name.name}", where=where, do=do)
            elif name.suffix[1:] == src:
                parts.append(TwoFiles(src=path, tgt=files[name.with_suffix(f".{tgt}")], **options))
                variants.choose("src", src_lang, [src])
                variants.choose("tgt", tgt_lang, [tgt])
        for note in variants.notes():
            LOGGER.warning("%s: %s", folder, note)
        if not parts:
            what = f"no parallel files among the {len(files)} that match {match}"
            do = f"Give FILE.{src_lang} and FILE.{tgt_lang}, or files that end in {', '.join(by_suffix)}."
            raise UserError(ExitCode.DATA, what, where=str(folder), do=do)
        if ignored:
            more = f" and {len(ignored) - 5} more" if len(ignored) > 5 else ""
            LOGGER.info("%s: not parallel text, ignored: %s%s", folder, ", ".join(ignored[:5]), more)
        return parts

    def _by_plain_name(self) -> dict[Path, Path]:
        """The files by their names without the suffix of a packed file."""
        files: dict[Path, Path] = {}
        for path in self.files():
            name = plain_name(path.relative_to(self.settings.folder))
            if (twin := files.setdefault(name, path)) is not path:
                what = f"{twin.name} and {path.name} have the same name apart from the packing"
                do = "Remove one of them, or narrow match."
                raise UserError(ExitCode.DATA, what, where=str(self.settings.folder), do=do)
        return files

    def _side(self, name: Path, codes: Sequence[str], language: str) -> str | None:
        """The code of `language` among the `codes` of the files that are named like `name`."""
        found = matching_codes(language, codes)
        if len(found) > 1:
            what = f"{name.stem} exists in several variants of {language}"
            do = f"Set src_lang or tgt_lang of the source to one of {', '.join(found)}."
            raise UserError(ExitCode.DATA, what, where=str(self.settings.folder), do=do)
        return next(iter(found), None)
