"""Sources that a command line names by the words of an option, and the languages that files tell by their names."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtx.config.sources import Folder, HubDataset, Jsonl, Source, Tmx, Tsv, TwoFiles, Zip
from mtx.data.sources.folder import matching_files
from mtx.data.sources.hub import HUB_ID
from mtx.data.sources.packed import plain_name
from mtx.data.sources.read import source_name
from mtx.data.sources.tables import SUFFIXES as TABLE_SUFFIXES
from mtx.data.sources.tmx import first_languages
from mtx.data.sources.zip import member_names
from mtx.errors import ExitCode, UserError

SPLITS = {"train": "train", "dev": "validation", "test": "test"}
"""How data sets call what our options are named after."""

_LANGUAGE = re.compile(r"[a-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_NO_LANGUAGES = {
    "txt", "src", "tgt", "trg", "ref", "hyp", "raw", "tok", "bpe", "spm", "low", "new", "old", "out", "all", "doc",
    "csv", "xml", "sgm", "tsv", "tmx", "zip", "tar", "bz", "gz", "xz", "zst", "md", "log", "lst", "bak", "ids",
}  # fmt: skip
"""Suffixes that look like the code of a language and seldom are."""


def sources_of(words: Sequence[str], role: str) -> list[Source]:
    """The sources that `words` of the option `role` (train, dev or test) stand for.

    A table, archive, memory, folder or data set is a source of its own; other files are the two sides of one.

    Raises:
        UserError: a file is not there (DATA), or one has no other side (USAGE).
    """
    sources: list[Source] = []
    texts: list[Path] = []
    for word in words:
        path = Path(word)
        match plain_name(path).suffix:
            case _ if not os.path.lexists(word):
                sources.append(_of_hub(word, role, words))
            case _ if path.is_dir():
                sources.append(_of_folder(path, role))
            case ".tsv":
                sources.append(Tsv(tsv=path))
            case ".jsonl":
                sources.append(Jsonl(jsonl=path))
            case ".tmx":
                sources.append(Tmx(tmx=path))
            case ".zip":
                sources.append(Zip(zip=path))
            case suffix if suffix in TABLE_SUFFIXES:
                sources.append(HubDataset(dataset=word, split=SPLITS[role]))
            case _:
                texts.append(path)
    return [*_of_texts(texts, role), *sources]


def languages_of(sources: Sequence[Source], src_lang: str | None, tgt_lang: str | None) -> tuple[str, str]:
    """The codes of both languages: those given, else what the files of `sources` tell.

    Raises:
        UserError: they don't tell, or the other way round than given (USAGE); a file can't be read (DATA).
    """
    told: dict[str, None] = {}
    for source in sources:
        src, tgt, found = _told_by(source)
        if src is not None and tgt is not None and src != tgt and (src_lang, tgt_lang) == (tgt, src):
            what, do = f"by their names the source is {src} and the target {tgt}", "Give the source first."
            raise UserError(ExitCode.USAGE, what, where=source_name(source), do=do)
        if src is not None and tgt is not None:
            return src_lang or src, tgt_lang or tgt
        told |= dict.fromkeys(found)
    if src_lang and tgt_lang:
        return src_lang, tgt_lang
    if len(told) == 2:
        for given, other in ((src_lang, 1), (tgt_lang, 0)):
            if given in told:
                rest = next(language for language in told if language != given)
                return (str(given), rest) if other else (rest, str(given))
    what = "the names of the files do not tell which language is translated into which"
    do = "Give --src-lang and --tgt-lang."
    if told:
        do = f"Give --src-lang and --tgt-lang: there {'are' if len(told) > 1 else 'is'} {', '.join(list(told)[:10])}."
    raise UserError(ExitCode.USAGE, what, where=", ".join(map(source_name, sources)), do=do)


# --- sources ---------------------------------------------------------------------------------------------------------


def _of_folder(path: Path, role: str) -> Source:
    """A folder of a data set, which knows its splits, or one of files of any kind."""
    is_data_set = any(path.rglob("*.parquet")) or any(path.rglob("*.arrow"))
    return HubDataset(dataset=str(path), split=SPLITS[role]) if is_data_set else Folder(folder=path)


def _of_hub(word: str, role: str, words: Sequence[str]) -> Source:
    is_known_folder = os.path.isdir(os.path.dirname(word))  # then it is a file that was mistyped
    is_id = "/" in word and HUB_ID.fullmatch(word)  # without an owner it is more likely a file
    if not is_id or is_known_folder or any(map(os.path.isfile, words)):
        empty = "''"
        do = "Give files that exist, a folder, or the id of a data set on the hub (owner/name)."
        raise UserError(ExitCode.DATA, f"cannot read {word or empty}: no such file or directory", do=do)
    return HubDataset(dataset=word, split=SPLITS[role])


def _of_texts(paths: Sequence[Path], role: str) -> Iterator[Source]:
    """Files of text as pairs: the only two, else those whose names differ in their last part alone."""
    if not paths:
        return
    if len(paths) == 2:
        stems = {paths[0]: list(paths)}
    else:
        stems = {}
        for path in paths:
            stems.setdefault(plain_name(path).with_suffix(""), []).append(path)
    first = plain_name(paths[0]).suffix
    usage = "mtx init SRC TGT" if role == "train" else f"--{role} SRC --{role} TGT"
    for sides in stems.values():
        if len(sides) != 2:
            given = "one text file" if len(sides) == 1 else f"{len(sides)} text files of the same name"
            what = f"{given} given, two needed (source and target)"
            do = f"Give files that differ only in a language suffix: {usage}."
            raise UserError(ExitCode.USAGE, what, where=", ".join(map(str, sides)), do=do)
        src, tgt = sides
        if len(paths) > 2 and plain_name(tgt).suffix == first:
            src, tgt = tgt, src
        if os.path.exists(src) and os.path.exists(tgt) and os.path.samefile(src, tgt):
            what, do = "source and target are the same file", f"Give two: {usage}."
            raise UserError(ExitCode.USAGE, what, where=str(src), do=do)
        yield TwoFiles(src=src, tgt=tgt)


# --- languages -------------------------------------------------------------------------------------------------------


def _told_by(source: Source) -> tuple[str | None, str | None, list[str]]:
    """Source and target language where a source tells which is which, and all the languages that it tells."""
    match source:
        case TwoFiles():
            src, tgt = _language_of(source.src.name), _language_of(source.tgt.name)
            return src, tgt, [language for language in (src, tgt) if language is not None]
        case Tmx():
            return _told_by_tmx(source.tmx)
        case Folder():
            return None, None, _languages_of_names(path.name for path in matching_files(source))
        case Zip():
            try:
                return None, None, _languages_of_names(member_names(source.zip))
            except (OSError, UserError):
                return None, None, []  # who reads the pairs says what is wrong
    return None, None, []


def _language_of(name: str) -> str | None:
    suffix = plain_name(Path(name)).suffix.removeprefix(".")
    return suffix if _LANGUAGE.fullmatch(suffix) and suffix not in _NO_LANGUAGES else None


def _languages_of_names(names: Iterator[str] | list[str]) -> list[str]:
    """The languages of files that there are in several, under the same name."""
    languages: dict[str, dict[str, None]] = {}
    for name in names:
        if (language := _language_of(name)) is not None:
            languages.setdefault(str(plain_name(Path(name)).with_suffix("")), {})[language] = None
    return list({language: None for several in languages.values() if len(several) > 1 for language in sorted(several)})


def _told_by_tmx(path: Path) -> tuple[str | None, str | None, list[str]]:
    try:
        with path.open("rb") as stream:
            src, found = first_languages(stream, str(path))
    except OSError:
        return None, None, []  # likewise
    short = [code.split("-")[0] for code in found]
    names = [code if short.count(main) > 1 else main for code, main in zip(found, short, strict=True)]
    others = [name for code, name in zip(found, names, strict=True) if src not in (code, name)]
    if len(names) == 2 and len(others) == 1:
        return next(name for name in names if name != others[0]), others[0], names
    return None, None, names
