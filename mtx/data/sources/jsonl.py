"""JSON Lines: one object a line."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mtx.config.messages import shorten
from mtx.config.sources import Jsonl
from mtx.data.sources.base import Pair, Reader
from mtx.data.sources.text import read_regular_file
from mtx.errors import ExitCode, UserError


class JsonlReader(Reader[Jsonl]):
    settings_type = Jsonl
    suffixes = (".jsonl",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        settings = self.settings
        src_names = [settings.src] if settings.src else ["src", src_lang]
        tgt_names = [settings.tgt] if settings.tgt else ["tgt", tgt_lang]
        for number, line in enumerate(read_regular_file(settings.jsonl), start=1):
            if not line.strip():
                yield "", ""
                continue
            where = f"{settings.jsonl} line {number}"
            do = "Give one JSON object a line."
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(ExitCode.DATA, "not JSON", where=where, do=do) from error
            if not isinstance(record, dict):
                raise UserError(ExitCode.DATA, "not a JSON object", where=where, do=do)
            yield _text(record, src_names, where), _text(record, tgt_names, where)


def _text(record: Mapping[str, Any], names: list[str], where: str) -> str:
    """The string under the first of `names` that `record`, or the object under its key "translation", has."""
    inner = record.get("translation")
    places = [record, inner] if isinstance(inner, dict) else [record]
    found = next(((name, fields[name]) for fields in places for name in names if name in fields), None)
    if found is None:
        wanted, existing = " or ".join(names), shorten(", ".join(record)) or "none"
        do = f"Name the fields in the source: its fields are {existing}."
        raise UserError(ExitCode.DATA, f"no field {wanted}", where=where, do=do)
    name, value = found
    if not isinstance(value, str):
        what = f"field {name} is not a string but {json.dumps(value, default=str)[:40]}"
        raise UserError(ExitCode.DATA, what, where=where, do="Give text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        what, do = f"field {name} contains half a surrogate pair", "Write characters beyond U+FFFF as two \\u escapes."
        raise UserError(ExitCode.DATA, what, where=where, do=do) from error
    return value
