"""The settings explained: the text of `mtx config show`, and a JSON Schema for editors."""

import json
from collections.abc import Iterator
from textwrap import fill

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mtx.config.keys import SECTIONS, SOURCE_KEYS, SOURCE_KINDS, choices, nearest, range_text, type_text
from mtx.config.places import key_text, shortened
from mtx.config.settings import PRESETS, Config
from mtx.config.yaml_lines import in_one_line
from mtx.errors import ExitCode, UserError, printable

WIDTH = 100

SETTINGS = {(section, name): field for section, model in SECTIONS.items() for name, field in model.model_fields.items()}


def describe(key: str | None) -> str:
    """The meaning, type, range and default of `key` (train.lr), of each key in a section (train), or of all for None.

    Raises:
        UserError: there is no such key.
    """
    if key is None:
        return "\n\n".join(_section(name) for name in SECTIONS)
    if key in SECTIONS:
        return _section(key)
    settings = {key_text(path): path for path in SETTINGS}
    if key in settings:
        return _setting(*settings[key])
    same_name = (name for name, path in settings.items() if path[-1] == key)
    near = next(same_name, None) or nearest(key, [*SECTIONS, *settings])
    do = f"Did you mean {near}?" if near else "See mtx config show."
    raise UserError(ExitCode.USAGE, f"unknown key {printable(shortened(key))}", do=do)


def json_schema() -> str:
    """The JSON Schema of a config, for editors that complete and check YAML."""
    return json.dumps(Config.model_json_schema(), indent=2)


def _section(name: str) -> str:
    lines = [f"{name}: {SECTIONS[name].__doc__}", *_rows(SECTIONS[name])]
    if name == "data":
        lines += _source_kinds()
    return "\n".join(lines)


def _setting(section: str, name: str) -> str:
    field = SETTINGS[section, name]
    wanted = ", ".join(part for part in (type_text(field), range_text(field)) if part)
    lines = [f"{section}.{name}: {field.description}", f"  type: {wanted}", f"  default: {_default(field)}"]
    if (section, name) in SOURCE_KEYS:
        lines += _source_kinds()
    if (section, name) == ("model", "preset"):
        lines += [f"  {preset}: {in_one_line(sizes)[1:-1]}" for preset, sizes in PRESETS.items()]
    return "\n".join(lines)


def _source_kinds() -> Iterator[str]:
    yield "  A source is one of these:"
    for kind in SOURCE_KINDS.values():
        yield fill(f"{kind.__doc__}", WIDTH, initial_indent="  - ", subsequent_indent="    ")
        yield from _rows(kind, indent="    ")


def _rows(settings: type[BaseModel], indent: str = "  ") -> Iterator[str]:
    """For each key its name, type, default and meaning, aligned."""
    for name, field in settings.model_fields.items():
        listed = choices(field)
        kind = "choice" if listed else type_text(field).removeprefix("a ")
        meaning = f"{field.description} One of {', '.join(listed)}." if listed else f"{field.description}"
        row = f"{indent + name:<21} {kind:<15} {_default(field):<12} "
        yield fill(meaning, WIDTH, initial_indent=row, subsequent_indent=" " * len(row))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else in_one_line(field.default)
