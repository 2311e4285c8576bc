"""The keys that a config may hold, their types and ranges in words, and the nearest one to a misspelt key."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mtx.config.places import Key, key_text, shortened
from mtx.config.settings import Config, Source

SECTIONS = {name: cast(type[BaseModel], field.annotation) for name, field in Config.model_fields.items()}

# Source is Annotated[Annotated[TwoFiles, Tag("files")] | ..., Discriminator(...)].
SOURCE_KINDS: dict[str, type[BaseModel]] = {tag.tag: kind for kind, tag in map(get_args, get_args(get_args(Source)[0]))}
"""The kinds of sources by the tag that pydantic puts into the location of an error."""

SOURCE_KEYS = (("data", "train"), ("data", "dev"), ("data", "test"))
"""The keys whose values are sources."""

TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


@dataclass(frozen=True, slots=True)
class Located:
    """The key that a location of pydantic's means, its field if there is such a key, and the settings it lies in."""

    key: Key
    field: FieldInfo | None
    owner: type[BaseModel]


def locate(location: Iterable[str | int]) -> Located:
    """What `location`, which names the kind of a source between its keys, stands for."""
    key: Key = ()
    field: FieldInfo | None = None
    owner: type[BaseModel] = Config
    for part in location:
        if key[:2] in SOURCE_KEYS and owner not in SOURCE_KINDS.values() and part in SOURCE_KINDS:
            owner, field = SOURCE_KINDS[str(part)], None
            continue
        key = (*key, part)
        if len(key) == 2:
            owner = SECTIONS[str(key[0])]
        if isinstance(part, str):
            field = owner.model_fields.get(part)
    return Located(key, field, owner)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """The values that `field` may have where they can be listed, else none."""
    annotation = _without_none(field.annotation)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def type_text(field: FieldInfo) -> str:
    """The type of `field` in words: "a whole number", "pre or post"."""
    if listed := choices(field):
        return " or ".join(filter(None, (", ".join(listed[:-1]), listed[-1])))
    annotation = _without_none(field.annotation)
    if annotation == Source:
        return "a source"
    if get_origin(annotation) is tuple:
        return "a list of sources"
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return TYPE_NAMES.get(annotation, "a mapping of keys")


def range_text(field: FieldInfo) -> str:
    """The range of a number in words, "at least 0 and below 1", or nothing."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [
        f"{word} {getattr(bound, name)}"
        for name, word in words.items()
        for bound in field.metadata
        if getattr(bound, name, None) is not None
    ]
    return " and ".join(limits)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` may be a misspelling of."""
    matches = get_close_matches(shortened(word).lower(), known, n=1)
    return matches[0] if matches else None


def nearest_key(located: Located) -> str | None:
    """The key that the unknown key of `located` may stand for: the same one in another section, or one beside it."""
    name = str(located.key[-1])
    beside: list[str] = list(located.owner.model_fields)
    if located.owner in SOURCE_KINDS.values():
        return nearest(name, beside + [kind for kind in SOURCE_KINDS if kind != "files"])
    elsewhere = (key_text((section, name)) for section, model in SECTIONS.items() if name in model.model_fields)
    return next(elsewhere, None) or nearest(name, beside)


def _without_none(annotation: Any) -> Any:
    """`annotation`, or X for X | None."""
    args = get_args(annotation)
    return args[0] if type(None) in args else annotation
