"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mtx.config.messages import shorten
from mtx.config.sources import Jsonl
from mtx.data.sources.base import NoPair, Pair, Reader
from mtx.data.sources.text import read_rows


class JsonlReader(Reader[Jsonl]):
    settings_type = Jsonl
    suffixes = (".jsonl",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        settings = self.settings
        src_names = [settings.src] if settings.src else ["src", src_lang]
        tgt_names = [settings.tgt] if settings.tgt else ["tgt", tgt_lang]
        for number, row in enumerate(read_rows(settings.jsonl), start=1):
            if isinstance(row, NoPair):
                yield row
            elif not row.strip():
                yield "", ""
            else:
                yield _pair(row, src_names, tgt_names, f"{settings.jsonl} line {number}")


def _pair(line: str, src_names: list[str], tgt_names: list[str], where: str) -> Pair:
    """The pair of a line."""
    try:
        record = _object(line)
        return _text(record, src_names), _text(record, tgt_names)
    except _FaultError as error:
        what, do = error.args
        return NoPair.of(what.partition(" but ")[0], line, (what, where, do))


class _FaultError(Exception):
    """A line gives no pair: the problem and the remedy."""


def _object(line: str) -> dict[str, Any]:
    do = "Give one JSON object a line."
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise _FaultError("not JSON", do) from None
    if not isinstance(record, dict):
        raise _FaultError("not a JSON object", do)
    return record


def _text(record: Mapping[str, Any], names: list[str]) -> str:
    """The string under the first of `names` that `record`, or the object under its key "translation", has."""
    inner = record.get("translation")
    places = [record, inner] if isinstance(inner, dict) else [record]
    found = next(((name, fields[name]) for fields in places for name in names if name in fields), None)
    if found is None:
        wanted, existing = " or ".join(names), shorten(", ".join(record)) or "none"
        raise _FaultError(f"no field {wanted}", f"Name the fields in the source: its fields are {existing}.")
    name, value = found
    if not isinstance(value, str):
        raise _FaultError(f"field {name} is not a string but {json.dumps(value, default=str)[:40]}", "Give text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        do = "Write characters beyond U+FFFF as two \\u escapes."
        raise _FaultError(f"field {name} contains half a surrogate pair", do) from None
    return value
