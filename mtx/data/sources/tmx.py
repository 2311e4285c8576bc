"""Pairs of translation memories in TMX 1.4, read unit by unit: memory does not grow with the file.

The format: https://www.gala-global.org/tmx-14b. A file comes from anyone: entities that it declares are not followed,
nothing that it names is opened, and libxml2's own limits on depth and size stay in force.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from mtx.data.sources.packed import plain_blocks
from mtx.errors import ExitCode, UserError

_CODES = {"bpt", "ept", "it", "ph", "ut"}
"""Elements inside a segment that hold formatting of the original; what they hold is not text of the sentence."""

MAX_ELEMENTS, MAX_BYTES = 10_000, 1 << 22
"""What one unit may have: sentences over 1 MB are dropped anyway."""

_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SPACES = re.compile(r"[\t\n\r ]+")
_PLACE = re.compile(r", line \d+, column \d+$")


def read_tmx(stream: BinaryIO, name: str, src_lang: str, tgt_lang: str) -> Iterator[tuple[str, str]]:
    """The (source, target) pairs of the units of a TMX file, in order; a unit without one of the two has "" for it.

    A language is that of a variant (`xml:lang`), regardless of case, else one with its main part: en takes en-US.

    Raises:
        UserError: (DATA) no XML, damaged, no TMX, not one unit in these languages.
    """
    languages: dict[str, None] = {}
    has_both = False
    for unit in _units(plain_blocks(stream, name), name):
        variants: dict[str, Any] = {}
        for variant in _children(unit, "tuv"):
            variants.setdefault(_language(variant), variant)
        languages |= dict.fromkeys(variants)
        src, tgt = _text_in(variants, src_lang), _text_in(variants, tgt_lang)
        has_both = has_both or bool(src and tgt)
        yield src, tgt
    if not has_both:
        found = ", ".join(list(languages)[:10]) or "none"
        do = f"Set src and tgt of the source to two of its languages: {found}."
        raise UserError(ExitCode.DATA, f"no unit with both {src_lang} and {tgt_lang}", where=name, do=do)


def first_languages(stream: BinaryIO, name: str) -> tuple[str, list[str]]:
    """What the header says that the source language is, or nothing, and the languages of the first unit, in lower case.

    Raises:
        UserError: (DATA) no XML, damaged, no TMX.
    """
    for unit in _units(plain_blocks(stream, name), name):
        header = next(_children(unit.getroottree().getroot(), "header"), None)
        source = "" if header is None else str(header.get("srclang") or "").lower().replace("_", "-")
        return source, [_language(variant) for variant in _children(unit, "tuv")]
    return "", []


def _units(blocks: Iterable[bytes], name: str) -> Iterator[Any]:
    """Each `tu` element once it is complete; it is let go of after, as everything else is at once."""
    from lxml import etree

    parser: Any = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip
    is_first = True
    unit = None
    num_held = num_bytes = 0  # elements and bytes since something was let go of
    try:
        for block in blocks:
            parser.feed(block)
            num_bytes += len(block)
            for event, element in parser.read_events():
                tag = element.tag.rpartition("}")[2]
                if is_first and tag != "tmx":
                    what, do = f"the root element is {tag[:40]}, not tmx", "Give a TMX file."
                    raise UserError(ExitCode.DATA, what, where=name, do=do)
                is_first = False
                if event == "start":
                    num_held += 1
                    unit = element if unit is None and tag == "tu" else unit
                elif unit is None or element is unit:
                    if unit is not None:
                        yield element
                    _forget(element)
                    unit, num_held, num_bytes = None, 0, 0
                if num_held > MAX_ELEMENTS:
                    raise _too_large(name, element)
            if num_bytes > MAX_BYTES:
                raise _too_large(name, unit)
        parser.close()
    except etree.XMLSyntaxError as error:
        line = error.position[0] if error.position else 0
        reason = _PLACE.sub("", " ".join((error.msg or "not XML").split()))[:200]
        is_other_text = error.code in (etree.ErrorTypes.ERR_INVALID_ENCODING, etree.ErrorTypes.ERR_INVALID_CHAR)
        do = "Mend the text there, or convert it to UTF-8." if is_other_text else "Give a whole TMX file."
        raise UserError(ExitCode.DATA, f"no sound XML: {reason}", where=f"{name} line {line}", do=do) from error


def _too_large(name: str, element: Any) -> UserError:
    where = name if element is None else f"{name} line {element.sourceline}"
    return UserError(ExitCode.DATA, "a unit is too large for one of sentences", where=where, do="Take it out.")


def _forget(element: Any) -> None:
    """Let go of what an element holds, and of all before it; its attributes stay: the header tells a language."""
    del element[:]
    element.text = None
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _children(element: Any, name: str) -> Iterator[Any]:
    return (child for child in element if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == name)


def _language(variant: Any) -> str:
    return str(variant.get(_XML_LANG) or variant.get("lang") or "").lower().replace("_", "-")


def _text_in(variants: dict[str, Any], language: str) -> str:
    """The text of the variant in `language`; of several, the first."""
    wanted = language.lower().replace("_", "-")
    variant = variants.get(wanted)
    if variant is None:
        same = (variant for code, variant in variants.items() if code.split("-")[0] == wanted)
        variant = next(same, None)
    segment = next(_children(variant, "seg"), None) if variant is not None else None
    return "" if segment is None else _SPACES.sub(" ", "".join(_text_of(segment))).strip(" ")


def _text_of(segment: Any) -> Iterator[str]:
    """What the translator saw: without codes, and with what stands between them."""
    yield segment.text or ""
    for child in segment:
        if isinstance(child.tag, str) and child.tag.rpartition("}")[2] not in _CODES:
            yield from _text_of(child)
        yield child.tail or ""
