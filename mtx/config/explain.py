"""The text of `mtx config show`, and a JSON Schema for editors."""

import json
from collections.abc import Iterator, Mapping
from textwrap import fill

from pydantic.fields import FieldInfo

from mtx.config.document import dump_line
from mtx.config.messages import SECTIONS, SOURCE_KEYS, choices, key_text, nearest, range_text, shorten, type_text
from mtx.config.settings import PRESETS, Config
from mtx.config.sources import SOURCE_KINDS, SourceSettings
from mtx.errors import ExitCode, UserError, escape_controls

WIDTH = 100  # Columns of a line

ALL_KEYS = {
    f"{section}.{name}": field for section, model in SECTIONS.items() for name, field in model.model_fields.items()
}


def describe(key: str | None) -> str:
    """Explain one key (train.lr), each key of a section (train), or all keys for None.

    Raises:
        UserError: (USAGE) there is no such key.
    """
    if key is None:
        return "\n\n".join(_section(name) for name in SECTIONS)
    if key in SECTIONS:
        return _section(key)
    if key in ALL_KEYS:
        return _setting(key)
    near = next((full for full in ALL_KEYS if full.endswith(f".{key}")), None) or nearest(key, [*SECTIONS, *ALL_KEYS])
    do = f"Did you mean {near}?" if near else "See mtx config show."
    raise UserError(ExitCode.USAGE, f"unknown key {escape_controls(shorten(key))}", do=do)


def json_schema() -> str:
    """Return the JSON Schema of a config, for editors that complete and check YAML."""
    return json.dumps(Config.model_json_schema(), indent=2)


def _section(name: str) -> str:
    lines = [f"{name}: {SECTIONS[name].__doc__}", *_rows(SECTIONS[name].model_fields)]
    if name == "data":
        lines += _source_kinds()
    return "\n".join(lines)


def _setting(key: str) -> str:
    field = ALL_KEYS[key]
    wanted = ", ".join(part for part in (type_text(field), range_text(field)) if part)
    lines = [f"{key}: {field.description}", f"  type: {wanted}", f"  default: {_default(field)}"]
    if key in map(key_text, SOURCE_KEYS):
        lines += _source_kinds()
    if key == "model.preset":
        lines += [f"  {preset}: {dump_line(sizes)[1:-1]}" for preset, sizes in PRESETS.items()]
    return "\n".join(lines)


def _source_kinds() -> Iterator[str]:
    yield "  A source is one of these:"
    shared = SourceSettings.model_fields
    for kind in SOURCE_KINDS.values():
        yield fill(" ".join(f"{kind.__doc__}".split()), WIDTH, initial_indent="  - ", subsequent_indent="    ")
        own = {name: field for name, field in kind.model_fields.items() if name not in shared}
        yield from _rows(own, indent="    ")
    yield "  Each of them may also have these keys:"
    yield from _rows(shared, indent="    ")


def _rows(fields: Mapping[str, FieldInfo], indent: str = "  ") -> Iterator[str]:
    """Align name, type, default and description of each key."""
    for name, field in fields.items():
        listed = choices(field)
        kind = "choice" if listed else type_text(field).removeprefix("a ").replace("a list of sources", "a list")
        text = f"{field.description} One of {', '.join(listed)}." if listed else f"{field.description}"
        row = f"{indent + name:<21} {kind:<16} {_default(field):<12} "
        yield fill(text, WIDTH, initial_indent=row, subsequent_indent=" " * len(row))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default in (None, ()) else dump_line(field.default)
