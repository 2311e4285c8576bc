"""Parallel text as pairs of strings, from every kind of source. Nothing is dropped here; `prepare` cleans."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mtx.config.messages import shorten
from mtx.config.sources import Demo, Folder, HubDataset, Jsonl, Source, Tmx, Tsv, TwoFiles, Zip
from mtx.data.sources.folder import find_sources, matching_files
from mtx.data.sources.text import read_lines, unreadable
from mtx.data.sources.tmx import read_tmx
from mtx.data.sources.zip import read_zip
from mtx.errors import ExitCode, UserError

Pair = tuple[str, str]


def read_pairs(source: Source, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
    """The (source, target) pairs of `source`, in its order.

    Raises:
        UserError: (DATA) missing, damaged, unequal numbers of lines, a line without the two sides.
    """
    match source:
        case TwoFiles():
            yield from _read_two_files(source)
        case Tsv():
            yield from _read_tsv(source)
        case Jsonl():
            yield from _read_jsonl(source, src_lang, tgt_lang)
        case Tmx():
            with _readable(source.tmx), source.tmx.open("rb") as stream:
                yield from read_tmx(stream, str(source.tmx), source.src or src_lang, source.tgt or tgt_lang)
        case Zip():
            with _readable(source.zip):
                yield from read_zip(source, src_lang, tgt_lang)
        case Folder():
            for part in find_sources(source, src_lang, tgt_lang):
                yield from read_pairs(part, src_lang, tgt_lang)
        case HubDataset():
            from mtx.data.sources.hub import read_hub

            yield from read_hub(source, src_lang, tgt_lang)
        case Demo():
            from mtx.demo import read_demo

            yield from read_demo(source.demo)


def source_name(source: Source) -> str:
    """What messages and model cards call `source`; without the folders that it lies in."""
    match source:
        case TwoFiles():
            return f"{source.src.name} and {source.tgt.name}"
        case Tsv():
            return source.tsv.name
        case Jsonl():
            return source.jsonl.name
        case Tmx():
            return source.tmx.name
        case Zip():
            return source.zip.name
        case Folder():
            return f"{source.folder.name}/{source.match}"
        case HubDataset():
            return " ".join(filter(None, [source.dataset, source.name, source.split]))
        case Demo():
            return f"demo {source.demo}"


def source_files(source: Source) -> list[Path]:
    """The files that decide the content of `source`: of text, or of code for the demo; none for what is on the hub."""
    match source:
        case TwoFiles():
            return [source.src, source.tgt]
        case Tsv():
            return [source.tsv]
        case Jsonl():
            return [source.jsonl]
        case Tmx():
            return [source.tmx]
        case Zip():
            return [source.zip]
        case Folder():
            return matching_files(source)
        case HubDataset():
            from mtx.data.sources.hub import local_files

            return local_files(source)
        case Demo():
            from mtx import demo

            return sorted(Path(demo.__file__).parent.glob("*.py"))


def is_same_text(one: Source, other: Source) -> bool:
    """Whether two sources are the same, or read the same file under whatever name."""
    if one == other:
        return True
    if isinstance(one, Demo) or isinstance(other, Demo):
        return False  # whose files are of code
    return any(_is_same_file(path, other_path) for path in source_files(one) for other_path in source_files(other))


def _is_same_file(one: Path, other: Path) -> bool:
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def check_source(source: Source, src_lang: str, tgt_lang: str) -> None:
    """Read the beginning of each file of `source`, so that a missing one is noticed before long work begins.

    Raises:
        UserError: (DATA) a file, or a data set that is not on the hub, cannot be read.
    """
    match source:
        case HubDataset():
            from mtx.data.sources.hub import check_hub

            check_hub(source, src_lang, tgt_lang)
        case Tmx() | Zip():
            next(read_pairs(source, src_lang, tgt_lang), None)
        case Folder():
            for part in find_sources(source, src_lang, tgt_lang):
                check_source(part, src_lang, tgt_lang)
        case _:
            for path in source_files(source):
                next(_corpus_lines(path, source_encoding(source)), None)


def source_encoding(source: Source) -> str:
    """The encoding of the files of `source`: the one that it names, else UTF-8."""
    return source.encoding if isinstance(source, TwoFiles | Tsv) else "utf-8"


def _corpus_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Lines of a file that can be read twice: once for the vocabulary, once for the ids."""
    _check_regular(path)
    return read_lines(path, encoding)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Inside, what the system refuses when the file `path` is opened or read becomes one line for the user."""
    _check_regular(path)
    try:
        yield
    except OSError as error:
        raise unreadable(str(path), error) from error


def _check_regular(path: Path) -> None:
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise UserError(ExitCode.DATA, f"{path} is no regular file", do="Save the text to a file first.")


# --- two files -------------------------------------------------------------------------------------------------------


def _read_two_files(source: TwoFiles) -> Iterator[Pair]:
    num_src = num_tgt = 0
    for src, tgt in zip_longest(_corpus_lines(source.src, source.encoding), _corpus_lines(source.tgt, source.encoding)):
        num_src += src is not None
        num_tgt += tgt is not None
        if src is not None and tgt is not None:
            yield src, tgt
    if num_src != num_tgt:
        counts = f"{source.src.name} has {num_src} lines, {source.tgt.name} {num_tgt}"
        raise UserError(
            ExitCode.DATA, counts, where=_first_mismatch(source), do="Line n of each must translate the other's."
        )


def _first_mismatch(source: TwoFiles) -> str:
    """Where the lengths of the two sides first disagree badly, in words."""

    def lengths() -> Iterator[tuple[int, int]]:
        srcs, tgts = (read_lines(path, source.encoding) for path in (source.src, source.tgt))
        return ((len(src.strip()), len(tgt.strip())) for src, tgt in zip(srcs, tgts, strict=False))

    total_src = total_tgt = number = 0
    for num_src, num_tgt in lengths():
        total_src, total_tgt = total_src + num_src, total_tgt + num_tgt
    # Chinese needs a third of the characters of English: what counts is how far a pair is from the usual ratio.
    usual = (1 + total_src) / (1 + total_tgt)
    for number, (num_src, num_tgt) in enumerate(lengths(), start=1):
        scaled = num_tgt * usual
        if (num_src == 0) != (num_tgt == 0) or (max(num_src, scaled) > 20 and not 0.25 < num_src / scaled < 4):
            return f"lengths first disagree at line {number}"
    return f"lengths agree up to line {number}"


# --- one file --------------------------------------------------------------------------------------------------------


def _read_tsv(source: Tsv) -> Iterator[Pair]:
    needed, most = max(source.src, source.tgt), 0
    for number, line in enumerate(_corpus_lines(source.tsv, source.encoding), start=1):
        if not line:
            yield "", ""
            continue
        columns = line.split("\t")
        if len(columns) < needed:
            what = f"found {len(columns)} columns, needed {needed}"
            raise UserError(ExitCode.DATA, what, where=f"{source.tsv} line {number}", do="Separate columns by one tab.")
        most = most or len(columns)
        if len(columns) > most:  # what stands behind a tab too many would be lost
            what, do = f"found {len(columns)} columns, {most} in the lines before", "Take out tabs that separate none."
            raise UserError(ExitCode.DATA, what, where=f"{source.tsv} line {number}", do=do)
        yield columns[source.src - 1], columns[source.tgt - 1]


def _read_jsonl(source: Jsonl, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
    for number, line in enumerate(_corpus_lines(source.jsonl), start=1):
        if not line.strip():
            yield "", ""
            continue
        where = f"{source.jsonl} line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(ExitCode.DATA, "not JSON", where=where, do="Give one JSON object a line.") from error
        if not isinstance(record, dict):
            raise UserError(ExitCode.DATA, "not a JSON object", where=where, do="Give one JSON object a line.")
        src_names = [source.src] if source.src else ["src", src_lang]
        tgt_names = [source.tgt] if source.tgt else ["tgt", tgt_lang]
        yield _json_text(record, src_names, where), _json_text(record, tgt_names, where)


def _json_text(record: Mapping[str, Any], names: list[str], where: str) -> str:
    """The string under the first of `names` that `record`, or the object under its key "translation", has."""
    inner = record.get("translation")
    places = [record, inner] if isinstance(inner, dict) else [record]
    for place in places:
        for name in names:
            if name in place:
                return _valid_text(place[name], name, where)
    wanted, found = " or ".join(names), shorten(", ".join(record)) or "none"
    do = f"Name the fields in the source: its fields are {found}."
    raise UserError(ExitCode.DATA, f"no field {wanted}", where=where, do=do)


def _valid_text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        what = f"field {name} is no string but {json.dumps(value, default=str)[:40]}"
        raise UserError(ExitCode.DATA, what, where=where, do="Give text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        what = f"field {name} holds half a surrogate pair"
        raise UserError(
            ExitCode.DATA, what, where=where, do="Write characters beyond U+FFFF as two \\u escapes."
        ) from error
    return value
