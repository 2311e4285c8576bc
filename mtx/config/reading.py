"""Configs in and out: a YAML file and dotted overrides make a `Config`, and back."""

import os
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mtx.config.places import COMMAND_LINE, Key, Place, Problem, all_at_once, key_text, shortened, value_text
from mtx.config.problems import explain
from mtx.config.settings import PRESETS, Config, HubDataset
from mtx.config.yaml_lines import Document, dump, in_one_line, parse
from mtx.errors import printable

MAX_BYTES = 1_000_000


def load_config(path: Path | None, overrides: Sequence[str]) -> Config:
    """The config in the file `path`, or the embedded demo's for None, changed by `overrides` such as train.lr=3e-4.

    Of several overrides of one key the last wins. Other training data takes the place of all of the demo's: there is no
    dev or test set then unless one is given. Relative paths become absolute: in the file they count from its folder, in
    overrides from the current one.

    Raises:
        UserError: with a line for everything that is wrong.
    """
    document = _read(path)
    for override in overrides:
        _apply(override, document)
    if path is None:
        _drop_sets_of_the_demo(document)
    problems = document.problems
    try:
        config = Config.model_validate(document.values)
    except ValidationError as error:
        problems = [*problems, *explain(error, document)]
    if problems:
        raise all_at_once(problems)
    absolute: Config = _with_absolute_paths(config, (), document)
    return absolute


def dump_config(config: Config) -> str:
    """`config` as YAML that `load_config` reads back to an equal one."""
    return dump(config)


def differences(old: Config, new: Config) -> list[str]:
    """A line `key: old -> new` for each setting that differs."""
    return list(_differences(old, new, ()))


def _read(path: Path | None) -> Document:
    """The mapping in the file `path`, with the problems that show before its keys are looked at."""
    if path is None:
        place = Place("the demo config", Path())
        data = resources.files("mtx.config").joinpath("demo.yaml").read_bytes()
    else:
        place = Place(str(path), path.parent)
        data = _read_bytes(path, place)
    document = parse(_decode(data, place), place)
    if isinstance(document.values, dict):
        return document
    what = "the config is " + ("empty" if document.values is None else f"{value_text(document.values)}, not a mapping")
    raise all_at_once(document.problems or [Problem(place, what, "Begin it with data: and see mtx config show.")])


def _read_bytes(path: Path, place: Place) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        what = f"the config cannot be read: {str(error.strerror).lower()}"
        raise Problem(place, what, "Give the path of a YAML file.").error() from None
    if len(data) > MAX_BYTES:
        raise Problem(place, f"the config is larger than {MAX_BYTES} bytes", "Give a YAML file of settings.").error()
    return data


def _decode(data: bytes, place: Place) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = place.at(data.count(b"\n", 0, error.start) + 1)
        raise Problem(place, "the config is not text in UTF-8", "Save it as UTF-8.").error() from None


def _apply(override: str, document: Document) -> None:
    """Set the key that `override` names in `document`."""
    name, equals, text = override.partition("=")
    *above, last = key = tuple(name.split("."))
    if not (equals and all(key)):
        what = f"{printable(shortened(override))} is no override"
        document.problems.append(Problem(COMMAND_LINE, what, "Write KEY=VALUE, such as train.lr=3e-4."))
        return
    section = document.values
    for depth, part in enumerate(above, start=1):
        if section.get(part) is None:
            section[part] = {}
            document.places[key[:depth]] = COMMAND_LINE
        section = section[part]
        if not isinstance(section, dict):
            what = f"{key_text(key)} cannot be set, as {key_text(key[:depth])} is {value_text(section)}"
            document.problems.append(Problem(COMMAND_LINE, what, f"Set {key_text(key[:depth])} as a whole."))
            return
    given = parse(text, COMMAND_LINE, key)
    document.take(given, key)
    section[last] = given.values
    if key == ("model", "preset") and given.values is not None:
        _drop_sizes_of_the_file(document)


def _drop_sizes_of_the_file(document: Document) -> None:
    """Make way for a preset of the command line, which sizes in the file would silently overrule."""
    sizes = {size for preset in PRESETS.values() for size in preset}
    for size in sizes:
        if document.place_of(("model", size)) != COMMAND_LINE:
            document.values["model"].pop(size, None)


def _drop_sets_of_the_demo(document: Document) -> None:
    """Without them, another corpus would be held against a dev and a test set that it has nothing to do with."""
    given = {key[:2] for key, place in document.places.items() if place == COMMAND_LINE}
    if ("data", "train") not in given:
        return
    for section, name in (("data", "dev"), ("data", "test")):
        if (section, name) not in given:
            document.values[section].pop(name, None)


def _with_absolute_paths(value: Any, key: Key, document: Document) -> Any:
    """`value` with each path made absolute; `~` and variables are left as they are."""
    match value:
        case Path():
            return Path(_absolute(value, key, document))
        case tuple():
            return tuple(_with_absolute_paths(item, (*key, index), document) for index, item in enumerate(value))
        case HubDataset():
            local = _absolute(value.dataset, (*key, "dataset"), document)
            return value.model_copy(update={"dataset": local}) if os.path.exists(local) else value
        case BaseModel():
            inner = {name: _with_absolute_paths(item, (*key, name), document) for name, item in value}
            return value.model_copy(update=inner)
    return value


def _absolute(path: Path | str, key: Key, document: Document) -> str:
    return os.path.abspath(document.place_of(key).folder / path)


def _differences(old: Any, new: Any, key: Key) -> Iterator[str]:
    if isinstance(old, BaseModel) and type(old) is type(new):
        for name in type(old).model_fields:
            yield from _differences(getattr(old, name), getattr(new, name), (*key, name))
    elif isinstance(old, tuple) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, (*key, index))
    elif old != new:
        yield f"{key_text(key)}: {in_one_line(old)} -> {in_one_line(new)}"
