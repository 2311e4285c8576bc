"""YAML with the places where things stand: every value by key path and line, every fault found in one reading.

The scalars are those of YAML 1.2's core schema: 3e-4 is a number, only true and false are booleans, 12:30 and
2024-01-01 are text. What other readers take for something else (an unquoted no, 010) is a fault, and so are
repeated keys, tags, aliases and merge keys: nothing expands and nothing is constructed.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from mtx.config.places import COMMAND_LINE, Key, Place, Problem, key_text, shortened
from mtx.errors import ExitCode, UserError, printable

# A config needs 4 levels and some hundred values, and a reader in Python needs a bound to answer within a second.
MAX_DEPTH = 20
MAX_NODES = 5_000
MAX_DIGITS = 100

MERGE_KEY = "<<"
STR, NULL, BOOL, INT, FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool", "int", "float"))
# Tags of our own, for what is refused.
WORD, ZERO, INFINITE, ALIAS, TAGGED = "!word", "!zero", "!infinite", "!alias", "!tagged"

# PyYAML's own table is YAML 1.1's: there 3e-4 is text, no is False, 010 is 8 and 12:30 is 750.
CORE_SCHEMA: dict[Any, list[tuple[str, re.Pattern[str]]]] = {
    None: [
        (NULL, re.compile(r"(~|null|Null|NULL|)\Z")),
        (BOOL, re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")),
        (WORD, re.compile(r"(yes|no|on|off|y|n)\Z", re.IGNORECASE)),
        (ZERO, re.compile(r"[-+]?0[0-9]+\Z")),
        (INT, re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
        (FLOAT, re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")),
        (INFINITE, re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z")),
    ]
}


@dataclass(slots=True)
class Document:
    """What a text says: its values, where each key stands, and what is wrong with it."""

    values: Any
    places: dict[Key, Place]
    problems: list[Problem] = field(default_factory=list)
    unread: set[Key] = field(default_factory=set)
    """Keys whose values are refused; None stands for them."""

    def place_of(self, key: Key) -> Place:
        """The place of `key`, or of the nearest key above it that was written."""
        while key not in self.places:
            key = key[:-1]
        return self.places[key]

    def take(self, other: "Document", key: Key) -> None:
        """Forget what stood under `key`, and hold what `other` says of it, but for the values."""
        self.places = {place: at for place, at in self.places.items() if place[: len(key)] != key} | other.places
        self.problems += other.problems
        self.unread |= other.unread


def parse(text: str, origin: Place, root: Key = ()) -> Document:
    """What the YAML `text` says, as the value of the key `root`.

    Raises:
        UserError: it is no YAML, or too deep or too large for a config.
    """
    document = Document(None, {root: origin})
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        place = origin.at(text.count("\n", 0, error.position) + 1)
        what = f"the character U+{error.character:04X} cannot stand in YAML"
        raise UserError(ExitCode.USAGE, what, where=str(place), do="Remove it.") from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, origin, root) from None
    if node is not None:
        document.values = _value(node, root, document)
    return document


def dump(value: Any) -> str:
    """`value` as YAML that `parse` reads back to the same."""
    return _dump(value, flow=False)


def in_one_line(value: Any) -> str:
    """`value` as YAML on one line."""
    return _dump([value], flow=True)[1:-2]


def is_number(text: str) -> bool:
    """Whether `text` would be a number without quotes."""
    return any(tag in (INT, FLOAT) and pattern.match(text) for tag, pattern in CORE_SCHEMA[None])


class _Loader(yaml.SafeLoader):
    """Builds the tree of nodes within limits; aliases and tags become nodes that `_scalar` refuses."""

    yaml_implicit_resolvers = CORE_SCHEMA
    depth = 0
    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.nodes += 1
        if self.depth == MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested more than {MAX_DEPTH} deep", event.start_mark)
        if self.nodes > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_NODES} keys and values", event.start_mark)
        if self.check_event(yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            return yaml.ScalarNode(ALIAS, event.anchor, event.start_mark, event.end_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and event.tag is not None:
            node.tag = TAGGED
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes the text that `_Loader` would take for something else."""

    yaml_implicit_resolvers = CORE_SCHEMA

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Left to itself, PyYAML writes a next line (U+0085) where it reads a fold.
    return dumper.represent_scalar(STR, text, style=None if text.isprintable() else '"')


def _number_node(dumper: yaml.SafeDumper, number: float) -> yaml.Node:
    return dumper.represent_scalar(FLOAT, repr(number))


_Dumper.add_representer(str, _text_node)
_Dumper.add_representer(float, _number_node)


def _dump(value: Any, *, flow: bool) -> str:
    plain = to_jsonable_python(value, exclude_none=True)
    text: str = yaml.dump(
        plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=math.inf
    )
    return text


def _syntax_error(error: yaml.MarkedYAMLError, origin: Place, root: Key) -> UserError:
    what = ", ".join(printable(part) for part in (error.context, error.problem) if part)
    mark = error.problem_mark
    if mark is None:
        where = str(origin)
    elif origin == COMMAND_LINE:
        where = f"{origin}, {key_text(root)}, column {mark.column + 1} of the value"
    else:
        where = f"{origin.at(mark.line + 1)} column {mark.column + 1}"
    do = "Indent with spaces." if r"'\t'" in what else "Correct it there, or put the text in quotes."
    return UserError(ExitCode.USAGE, f"not a config in YAML: {what}", where=where, do=do)


def _value(node: yaml.Node, key: Key, document: Document) -> Any:
    if node.tag == TAGGED:
        return _refuse(key, document, f"{key_text(key)} has a tag (!)", "Remove the tag.")
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, document)
    if isinstance(node, yaml.SequenceNode):
        return _sequence(node, key, document)
    return _scalar(node, key, document)


def _sequence(node: yaml.SequenceNode, key: Key, document: Document) -> list[Any]:
    place = document.places[key]
    for index, item in enumerate(node.value):
        document.places[(*key, index)] = place.at(item.start_mark.line + 1)
    return [_value(item, (*key, index), document) for index, item in enumerate(node.value)]


def _mapping(node: yaml.MappingNode, key: Key, document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    parent = document.places[key]
    for name_node, value_node in node.value:
        place = parent.at(name_node.start_mark.line + 1)
        if not isinstance(name_node, yaml.ScalarNode) or name_node.tag in (ALIAS, TAGGED):
            what = f"a key of {key_text(key)} is not a word"
            document.problems.append(Problem(place, what, "Write KEY: VALUE."))
            continue
        # The text itself, whatever its type would be as a value: a key may be called no or 5.
        name = name_node.value
        child = (*key, name)
        if name in values:
            what = f"{key_text(child)} is given twice, first at {document.places[child]}"
            document.problems.append(Problem(place, what, "Remove one of them."))
        document.places[child] = place
        if name == MERGE_KEY:
            _refuse(child, document, f"{key_text(child)}: merge keys are not supported", "Write the keys out.")
        values[name] = _value(value_node, child, document)
    return values


def _scalar(node: yaml.Node, key: Key, document: Document) -> Any:
    text = node.value
    if node.tag == STR and _is_text(text):
        return text
    if node.tag == NULL:
        return None
    if node.tag == BOOL:
        return text.lower() == "true"
    if node.tag == INT and len(text) <= MAX_DIGITS:
        return int(text, base=0)
    if node.tag == FLOAT and len(text) <= MAX_DIGITS and math.isfinite(number := float(text)):
        return number
    return _refuse(key, document, *_reason(node, key_text(key), document.place_of(key)))


def _is_text(text: str) -> bool:
    """Whether a file could have the name `text`: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udc7f" or "\udd00" <= char <= "\udfff" for char in text)


def _reason(node: yaml.Node, name: str, place: Place) -> tuple[str, str]:
    """Why the value of `name` is refused, and what to do."""
    text = printable(shortened(node.value))
    if node.tag == WORD:
        meant = "true" if text.lower() in ("yes", "y", "on") else "false"
        # A shell takes the outer quotes away.
        quoted = f"""'{name}="{text}"'""" if place == COMMAND_LINE else f'"{text}"'
        what = f"{name}: {text} without quotes is {meant} to some readers of YAML and a word to others"
        return what, f"Write {quoted} in quotes, or {meant}."
    if node.tag == ZERO:
        return f"{name}: {text} begins with 0, octal to some readers of YAML", "Leave the 0 out, or use quotes."
    if node.tag == ALIAS:
        return (
            f"{name} is an alias (*{text}), which is not supported",
            "Write the value out, or put the text in quotes.",
        )
    if node.tag == STR:
        return f"{name} holds characters that no text has: {text}", "Remove them."
    return f"{name} must be a finite number of at most {MAX_DIGITS} characters, got {text}", "Write such a number."


def _refuse(key: Key, document: Document, what: str, do: str) -> None:
    document.problems.append(Problem(document.place_of(key), what, do))
    document.unread.add(key)
