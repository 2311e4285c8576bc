"""Loading a config: a YAML file and dotted overrides become a `Config`; and writing one back."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from mtx.config.document import Document, dump, dump_line, parse
from mtx.config.messages import (
    COMMAND_LINE,
    SINGLE_OR_LIST,
    Key,
    Location,
    Problem,
    join_problems,
    key_text,
    problems_of,
    shorten,
    value_text,
)
from mtx.config.settings import HELD_OUT_ROLES, PRESETS, Config
from mtx.config.sources import HubDataset
from mtx.errors import escape_controls

DEMO = Path(__file__).with_name("demo.yaml")
MAX_BYTES = 300_000  # Size of a config file, which bounds the time to parse it to about a second


def load_config(path: Path | None, overrides: Sequence[str]) -> Config:
    """Load the file `path`, or the demo's config for None, and apply `overrides` such as train.lr=3e-4.

    The last override of a key wins. With other training data, the demo's dev and test sets are dropped. Paths become
    absolute: `~` is expanded; those in the file are relative to its folder, those in overrides to the current folder.

    Raises:
        UserError: (USAGE) with one line for each problem.
    """
    document = _read(path)
    for override in overrides:
        _apply(override, document)
    if path is None:
        _drop_demo_sets(document)
    problems = document.problems
    try:
        config = Config.model_validate(document.values)
    except ValidationError as error:
        problems = [*problems, *problems_of(error, document.location_of, document.as_written)]
    if problems:
        raise join_problems(problems)
    absolute: Config = _with_absolute_paths(config, (), document)
    return absolute


def dump_config(config: Config) -> str:
    """Write `config` as YAML that `load_config` reads back to an equal one."""
    return dump(config)


class Difference(NamedTuple):
    """A setting that differs between two configs."""

    key: Key
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{key_text(self.key)}: {dump_line(self.old)} -> {dump_line(self.new)}"

    @property
    def is_path(self) -> bool:
        """Whether both values are paths: of files, or of a data set on this machine."""
        is_data_set = self.key[-1] == "dataset"
        return all(isinstance(path, Path) or (is_data_set and os.path.isabs(path)) for path in self[1:])


def differences(old: Any, new: Any, key: Key = ()) -> list[Difference]:
    """List the settings that differ between two configs, or two values of `key`."""
    if key in SINGLE_OR_LIST:  # compared as they are written: a single set without a list
        old, new = (sets if len(sets) > 1 else next(iter(sets), None) for sets in (old, new))
    if isinstance(old, BaseModel) and type(old) is type(new):
        pairs = [((*key, name), value, getattr(new, name)) for name, value in old]
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        pairs = [((*key, index), *values) for index, values in enumerate(zip(old, new, strict=True))]
    else:
        return [] if old == new else [Difference(key, old, new)]
    return [each for inner, one, other in pairs for each in differences(one, other, inner)]


def _read(path: Path | None) -> Document:
    """Parse the file `path`, which must hold a mapping."""
    location = Location("the demo config", Path()) if path is None else Location(str(path), path.parent)
    try:
        with (path or DEMO).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        what = f"cannot read the config: {str(error.strerror).lower()}"
        raise Problem(location, what, "Give the path of a YAML file.").error() from None
    if len(data) > MAX_BYTES:
        raise Problem(location, f"the config is larger than {MAX_BYTES:,} bytes", "Give a YAML file.").error()
    try:
        document = parse(data.decode("utf-8"), location)
    except UnicodeDecodeError as error:
        location = location.at(data.count(b"\n", 0, error.start) + 1)
        raise Problem(location, "the config is not UTF-8 text", "Save it as UTF-8.").error() from None
    if not isinstance(document.values, dict):
        found = "empty" if document.values is None else f"{value_text(document.values)}, not a mapping"
        raise Problem(location, f"the config is {found}", "Begin it with data: and see mtx config show.").error()
    return document


def _apply(override: str, document: Document) -> None:
    """Set the key that `override` names."""
    name, equals, text = override.partition("=")
    *parents, last = key = tuple(name.split("."))
    if not (equals and all(key)):
        what = f"{escape_controls(shorten(override))} is not an override"
        document.problems.append(Problem(COMMAND_LINE, what, "Write KEY=VALUE, such as train.lr=3e-4."))
        return
    section = document.values
    for depth, part in enumerate(parents, start=1):
        if section.get(part) is None:
            section[part] = {}
            document.locations[key[:depth]] = COMMAND_LINE
        section = section[part]
        if not isinstance(section, dict):
            what = f"cannot set {key_text(key)}, because {key_text(key[:depth])} is {value_text(section)}"
            document.problems.append(Problem(COMMAND_LINE, what, f"Set the whole of {key_text(key[:depth])}."))
            return
    given = parse(text, COMMAND_LINE, key)
    document.replace(key, given)
    section[last] = given.values
    if key == ("model", "preset") and given.values is not None:
        # Sizes given in the file would silently win over a preset on the command line.
        for size in {size for preset in PRESETS.values() for size in preset}:
            if document.location_of(("model", size)) != COMMAND_LINE:
                section.pop(size, None)


def _drop_demo_sets(document: Document) -> None:
    """Drop the demo's dev and test sets if other training data is given, which they have nothing to do with."""
    given = {key[:2] for key, location in document.locations.items() if location == COMMAND_LINE}
    for name in HELD_OUT_ROLES:
        if ("data", "train") in given and ("data", name) not in given:
            document.values["data"].pop(name, None)


def _with_absolute_paths(value: Any, key: Key, document: Document) -> Any:
    """Make each path in `value` absolute."""
    match value:
        case Path():
            return Path(_absolute(value, key, document))
        case tuple():
            return tuple(_with_absolute_paths(item, (*key, index), document) for index, item in enumerate(value))
        case HubDataset():
            local = _absolute(os.path.expanduser(value.dataset), (*key, "dataset"), document)
            return value.model_copy(update={"dataset": local}) if os.path.exists(local) else value
        case BaseModel():
            inner = {name: _with_absolute_paths(item, (*key, name), document) for name, item in value}
            # Only changed values, because an update counts as a key that was given.
            return value.model_copy(update={name: item for name, item in inner.items() if item != getattr(value, name)})
    return value


def _absolute(path: Path | str, key: Key, document: Document) -> str:
    return os.path.abspath(document.location_of(key).folder / path)
