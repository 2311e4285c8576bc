"""YAML in and out: a parsed text with the location of every key, and values written as YAML.

Scalars are those of YAML 1.2, except that dates stay text. Anchors, aliases and tags are errors.
"""

import io
import math
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_jsonable_python
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from mtx.config.messages import COMMAND_LINE, Key, Location, Problem, key_text
from mtx.errors import ExitCode, UserError, escape_controls

MAX_DEPTH = 20  # Nested collections; a config needs 4, and the parser is recursive
MAX_NODES = 5_000  # Keys and values; a config needs some hundred, and these take the parser less than a second
MAX_DIGITS = 100  # Characters of a number

# What no file name can hold: NUL, and surrogates except those that stand for undecodable bytes.
_NOT_TEXT = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")


@dataclass(slots=True)
class Document:
    """The values of a text, the location of each key, and the problems found on the way."""

    values: Any
    locations: dict[Key, Location]
    problems: list[Problem] = field(default_factory=list)

    def as_written(self, key: Key) -> Key:
        """Return `key` without an index 0 that the user did not write, having given one source instead of a list."""
        unwritten = (depth for depth, part in enumerate(key) if part == 0 and key[: depth + 1] not in self.locations)
        depth = next(unwritten, len(key))
        return key[:depth] + key[depth + 1 :]

    def location_of(self, key: Key) -> Location:
        """Return the location of `key`, or of its nearest parent that was written."""
        key = self.as_written(key)
        while key not in self.locations:
            key = key[:-1]
        return self.locations[key]

    def replace(self, key: Key, other: "Document") -> None:
        """Replace locations below `key` by those of `other`, and add its problems."""
        kept = {old: location for old, location in self.locations.items() if old[: len(key)] != key}
        self.locations = kept | other.locations
        self.problems += other.problems


def parse(text: str, origin: Location, root: Key = ()) -> Document:
    """Parse the YAML `text` as the value of the key `root`.

    Raises:
        UserError: (USAGE) it is not valid YAML, or holds what a config may not.
    """
    document = Document(None, {root: origin})
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    try:
        node = yaml.compose(text)
    except ReaderError as error:
        location = origin.at(text.count("\n", 0, error.position) + 1)
        what = f"invalid YAML: the character U+{error.character:04X} is not allowed"
        raise Problem(location, what, "Remove it.").error() from None
    except MarkedYAMLError as error:
        raise _syntax_error(error, origin, root) from None
    if node is not None:
        document.values = _value(node, root, document)
    return document


class _Composer(Composer):
    """Composer that raises ComposerError for what a config may not hold, before anything is expanded."""

    num_nodes = num_open = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        self.num_nodes += 1
        self.num_open += 1
        if fault := self._fault(event):
            raise ComposerError(None, None, fault, event.start_mark)
        node = super().compose_node(parent, index)
        self.num_open -= 1
        return node

    def _fault(self, event: Any) -> str | None:
        if event.anchor is not None:
            return f"anchors (&) and aliases (*) are not supported: {event.anchor}"
        if getattr(event, "tag", None) is not None:
            return f"tags (!) are not supported: {event.tag}"
        if isinstance(event, ScalarEvent) and _NOT_TEXT.search(event.value):
            return "NUL and lone surrogates are not allowed"
        if self.num_open > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep"
        return f"more than {MAX_NODES} keys and values" if self.num_nodes > MAX_NODES else None


class _Representer(SafeRepresenter):
    """Representer that quotes and escapes text with line separators, which ruamel.yaml would fold when reading."""

    def represent_text(self, text: str) -> ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Representer.add_representer(str, _Representer.represent_text)


def dump(value: Any, *, flow: bool = False) -> str:
    """Write `value` as YAML that `parse` reads back to the same; in flow style, collections are written {a: [b]}."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = flow
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.brace_single_entry_mapping_in_flow_sequence = True
    yaml.width = sys.maxsize
    stream = io.StringIO()
    yaml.dump(to_jsonable_python(value, exclude_none=True), stream)
    return stream.getvalue()


def dump_line(value: Any) -> str:
    """Write `value` as YAML on one line."""
    return dump([value], flow=True)[1:-2]


def _syntax_error(error: MarkedYAMLError, origin: Location, root: Key) -> UserError:
    what = "invalid YAML: " + ", ".join(escape_controls(part) for part in (error.context, error.problem) if part)
    mark: Any = error.problem_mark
    where = f"{origin.at(mark.line + 1)} column {mark.column + 1}"
    if origin == COMMAND_LINE:
        where = f"{origin}, {key_text(root)}, column {mark.column + 1} of the value"
    do = "Indent with spaces." if r"'\t'" in what else "Correct it, or put the text in quotes."
    return UserError(ExitCode.USAGE, what, where=where, do=do)


def _value(node: Node, key: Key, document: Document) -> Any:
    if isinstance(node, MappingNode):
        return _mapping(node, key, document)
    if isinstance(node, SequenceNode):
        origin = document.locations[key]
        for index, item in enumerate(node.value):
            document.locations[(*key, index)] = origin.at(item.start_mark.line + 1)
        return [_value(item, (*key, index), document) for index, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: MappingNode, key: Key, document: Document) -> dict[str, Any]:
    values: dict[str, Any] = {}
    origin = document.locations[key]
    for name_node, value_node in node.value:
        location = origin.at(name_node.start_mark.line + 1)
        if not isinstance(name_node, ScalarNode):
            what = f"a key of {key_text(key)} is not a word"
            document.problems.append(Problem(location, what, "Write KEY: VALUE."))
            continue
        name = name_node.value  # always text, even where it looks like a number
        child = (*key, name)
        if name in values:
            what = f"{key_text(child)} is given twice, first at {document.locations[child]}"
            document.problems.append(Problem(location, what, "Remove one of them."))
        document.locations[child] = location
        values[name] = _value(value_node, child, document)
    return values


def _scalar(node: Node) -> Any:
    """Convert a scalar. A number that is too long or not finite stays text, which the settings then refuse."""
    text = node.value
    match str(node.tag).rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int" | "float" as kind if len(text) <= MAX_DIGITS:
            has_prefix = text.lstrip("+-")[1:2].isalpha()  # 0x10, 0o17; but 010 is ten
            with suppress(ValueError):  # .nan and .inf
                number = int(text, base=0 if has_prefix else 10) if kind == "int" else float(text)
                return number if math.isfinite(number) else text
    return text
