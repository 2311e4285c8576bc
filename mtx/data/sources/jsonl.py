"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mtx.config.messages import shorten
from mtx.config.sources import Jsonl
from mtx.data.sources.base import NoPair, Pair, Reader
from mtx.data.sources.text import read_rows
from mtx.data.sources.variants import Variants


class JsonlReader(Reader[Jsonl]):
    settings_type = Jsonl
    suffixes = (".jsonl",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        settings = self.settings
        sides = (
            _Field([settings.src], None) if settings.src else _Field(["src", src_lang], self.variants),
            _Field([settings.tgt], None) if settings.tgt else _Field(["tgt", tgt_lang], self.variants),
        )
        for number, row in enumerate(read_rows(settings.jsonl), start=1):
            if isinstance(row, NoPair):
                yield row
            elif not row.strip():
                yield "", ""
            else:
                yield _pair(row, *sides, f"{settings.jsonl} line {number}")


class _Field(NamedTuple):
    """The field of a side: the first of `names` that exists, or else a variant of the last, which is a language."""

    names: list[str]
    variants: Variants | None

    def find(self, fields: Mapping[str, Any]) -> str | None:
        """The name of the field among `fields`, if it exists."""
        for name in self.names:
            if name in fields:
                return name
        if self.variants is None:
            return None
        side, language = self.names
        return self.variants.choose(side, language, fields)


def _pair(line: str, src: _Field, tgt: _Field, where: str) -> Pair:
    """The pair of a line."""
    try:
        record = _object(line)
        return _text(record, src), _text(record, tgt)
    except _FaultError as error:
        what, do = error.args
        return NoPair.of(what.partition(" but ")[0], line, (what, where, do))


class _FaultError(Exception):
    """A line without a pair; the arguments are the problem and the remedy."""


def _object(line: str) -> dict[str, Any]:
    do = "Give one JSON object a line."
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise _FaultError("not JSON", do) from None
    if not isinstance(record, dict):
        raise _FaultError("not a JSON object", do)
    return record


def _text(record: Mapping[str, Any], field: _Field) -> str:
    """The string in the `field` of `record`, or of the object under its key "translation"."""
    inner = record.get("translation")
    fields, name = record, field.find(record)
    if name is None and isinstance(inner, dict):
        fields, name = inner, field.find(inner)
    if name is None:
        wanted, existing = " or ".join(field.names), shorten(", ".join(record)) or "none"
        raise _FaultError(f"no field {wanted}", f"Name the fields in the source: its fields are {existing}.")
    value = fields[name]
    if not isinstance(value, str):
        raise _FaultError(f"field {name} is not a string but {json.dumps(value, default=str)[:40]}", "Give text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        do = "Write characters beyond U+FFFF as two \\u escapes."
        raise _FaultError(f"field {name} contains half a surrogate pair", do) from None
    return value
