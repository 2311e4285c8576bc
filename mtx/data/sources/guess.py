"""Guess sources from file names on the command line, and languages from what the files say."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtx.config.sources import Folder, HubDataset, Source, TwoFiles
from mtx.data.sources.base import plain_name
from mtx.data.sources.hub import HUB_ID, HubReader
from mtx.data.sources.read import reader, readers_by_suffix
from mtx.errors import ExitCode, UserError
from mtx.text.languages import is_same_language

SPLITS = {"train": "train", "dev": "validation", "test": "test"}  # Usual splits of data sets, by option of `mtx init`


def sources_of(words: Sequence[str], role: str) -> list[Source]:
    """The sources that the `words` of the option `role` (train, dev or test) mean.

    A table, archive, translation memory, folder or data set is a source; other files are sides of one.

    Raises:
        UserError: a file does not exist (DATA), or one side has no other (USAGE).
    """
    by_suffix = readers_by_suffix()
    files = [Path(word) for word in words if os.path.lexists(word) and not os.path.isdir(word)]
    texts = [path for path in files if plain_name(path).suffix.lower() not in by_suffix]
    sources: list[Source] = []
    for word in words:
        if not os.path.lexists(word):
            # Without an owner, in a folder or beside a single text it is more likely a mistyped file than a data set.
            is_id = "/" in word and HUB_ID.fullmatch(word)
            if not is_id or len(texts) % 2 or os.path.isdir(os.path.dirname(word)):
                what = f"cannot read {word or repr(word)}: no such file or directory"
                do = "Give files that exist, a folder, or the id of a data set on the hub (owner/name)."
                raise UserError(ExitCode.DATA, what, do=do)
            sources.append(HubDataset(dataset=word, split=SPLITS[role]))
        elif os.path.isdir(word):
            is_data_set = any(path.suffix in HubReader.suffixes for path in Path(word).rglob("*"))
            sources.append(HubDataset(dataset=word, split=SPLITS[role]) if is_data_set else Folder(folder=Path(word)))
        elif (kind := by_suffix.get(plain_name(Path(word)).suffix.lower())) is not None:
            sources.append(kind.settings_for(Path(word), SPLITS[role]))
    return [*_of_texts(texts, role), *sources]


def languages_of(sources: Sequence[Source], src_lang: str | None, tgt_lang: str | None) -> tuple[str, str]:
    """The codes of both languages: those given, else those that the files of `sources` mention.

    Raises:
        UserError: the files do not tell, or contradict the given codes (USAGE); a file can't be read (DATA).
    """
    mentioned: dict[str, None] = {}
    for source in sources:
        codes, are_ordered = reader(source).languages()
        if are_ordered:
            src, tgt = codes
            if src_lang and tgt_lang and _are_swapped(src_lang, tgt_lang, src, tgt):
                what = f"by their names the source is {src} and the target {tgt}"
                raise UserError(ExitCode.USAGE, what, where=reader(source).label, do="Give the source first.")
            return src_lang or src, tgt_lang or tgt
        mentioned |= dict.fromkeys(codes)
    if src_lang and tgt_lang:
        return src_lang, tgt_lang
    if len(mentioned) == 2:
        one, other = mentioned
        for src, tgt in ((one, other), (other, one)):
            if any(given and is_same_language(given, code) for given, code in ((src_lang, src), (tgt_lang, tgt))):
                return src_lang or src, tgt_lang or tgt
    what, do = "the files do not tell the source and the target language", "Give --src-lang and --tgt-lang."
    if mentioned:
        do = f"Give --src-lang and --tgt-lang; the files mention {', '.join(list(mentioned)[:10])}."
    raise UserError(ExitCode.USAGE, what, where=", ".join(reader(source).label for source in sources), do=do)


def _are_swapped(src_lang: str, tgt_lang: str, src: str, tgt: str) -> bool:
    """Whether the given languages are those of the files in the wrong order."""
    return not is_same_language(src, tgt) and is_same_language(src_lang, tgt) and is_same_language(tgt_lang, src)


def _of_texts(paths: Sequence[Path], role: str) -> Iterator[Source]:
    """Pair files of text: two files with each other, more by their names up to the last part."""
    by_stem: dict[Path, list[Path]] = {}
    for path in paths:
        stem = paths[0] if len(paths) == 2 else plain_name(path).with_suffix("")
        by_stem.setdefault(stem, []).append(path)
    first = plain_name(paths[0]).suffix if paths else ""
    usage = "mtx init SRC TGT" if role == "train" else f"--{role} SRC --{role} TGT"
    for sides in by_stem.values():
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
