"""Translation memories in TMX 1.4, read unit by unit: memory does not grow with the file.

The format: https://www.gala-global.org/tmx-14b. A file may come from anyone: declared entities are not expanded, no
other file or address is opened, and libxml2's limits on depth and size stay in force.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from mtx.config.sources import Tmx
from mtx.data.sources.base import Languages, Pair, Reader, not_found
from mtx.data.sources.text import open_regular, plain_blocks
from mtx.errors import ExitCode, UserError

MAX_ELEMENTS, MAX_BYTES = 10_000, 1 << 22  # Limits of one unit. Sentences over 1 MB are dropped anyway.

_CODES = {"bpt", "ept", "it", "ph", "ut"}  # Elements in a segment that contain formatting, not text of the sentence
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SPACES = re.compile(r"[\t\n\r ]+")
_POSITION = re.compile(r", line \d+, column \d+$")


class TmxReader(Reader[Tmx]):
    settings_type = Tmx
    suffixes = (".tmx",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        path = self.settings.tmx
        with open_regular(path) as stream:
            yield from read_tmx(stream, str(path), self.settings.src or src_lang, self.settings.tgt or tgt_lang)

    def languages(self) -> Languages:
        """The languages of the first unit, and which of them is the source by the header."""
        path = self.settings.tmx
        src, codes = "", list[str]()
        try:
            with path.open("rb") as stream:
                for unit in _units(plain_blocks(stream, str(path)), str(path)):
                    header = next(_children(unit.getroottree().getroot(), "header"), None)
                    src = "" if header is None else _code(header.get("srclang"))
                    codes = [_language(variant) for variant in _children(unit, "tuv")]
                    break
        except OSError:
            return Languages()  # reading the pairs will say what is wrong
        short = [code.split("-")[0] for code in codes]
        names = [code if short.count(main) > 1 else main for code, main in zip(codes, short, strict=True)]
        others = [name for code, name in zip(codes, names, strict=True) if src not in (code, name)]
        if len(names) == 2 and len(others) == 1:
            return Languages(sorted(names, key=others.__contains__), are_ordered=True)
        return Languages(names)


def read_tmx(stream: BinaryIO, name: str, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
    """The (source, target) pairs of the units of a TMX file, in order. A unit without a language has "" for it.

    Languages (`xml:lang`) match regardless of case, or else by their main part: en matches en-US.

    Raises:
        UserError: not XML, damaged, not TMX, or no unit in both languages (DATA).
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
        raise not_found(f"no unit with both {src_lang} and {tgt_lang}", name, "languages", list(languages))


def _units(blocks: Iterable[bytes], name: str) -> Iterator[Any]:
    """Each complete `tu` element. It is freed after use; all other elements are freed at once."""
    from lxml import etree

    parser: Any = etree.XMLPullParser(
        events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip
    is_first = True
    unit = None
    num_held = num_bytes = 0  # elements and bytes since the last element was freed
    try:
        for block in blocks:
            parser.feed(block)
            num_bytes += len(block)
            for event, element in parser.read_events():
                tag = _name(element)
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
                    _free(element)
                    unit, num_held, num_bytes = None, 0, 0
            if num_held > MAX_ELEMENTS or num_bytes > MAX_BYTES:
                where = name if unit is None else f"{name} line {unit.sourceline}"
                raise UserError(ExitCode.DATA, "a unit is too large to be sentences", where=where, do="Remove it.")
        parser.close()
    except etree.XMLSyntaxError as error:
        line = error.position[0] if error.position else 0
        reason = _POSITION.sub("", " ".join((error.msg or "not XML").split()))[:200]
        is_encoding = error.code in (etree.ErrorTypes.ERR_INVALID_ENCODING, etree.ErrorTypes.ERR_INVALID_CHAR)
        do = "Correct the text there, or convert it to UTF-8." if is_encoding else "Give a complete TMX file."
        raise UserError(ExitCode.DATA, f"invalid XML: {reason}", where=f"{name} line {line}", do=do) from error


def _free(element: Any) -> None:
    """Free the content of an element and everything before it, but keep its attributes: the header has a language."""
    del element[:]
    element.text = None
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def _name(element: Any) -> str:
    """The name without its namespace; "" if not an element."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _children(element: Any, name: str) -> Iterator[Any]:
    return (child for child in element if _name(child) == name)


def _code(language: str | None) -> str:
    return (language or "").lower().replace("_", "-")


def _language(variant: Any) -> str:
    return _code(variant.get(_XML_LANG) or variant.get("lang"))


def _text_in(variants: dict[str, Any], language: str) -> str:
    """The text of the first variant in `language`."""
    wanted = _code(language)
    variant = variants.get(wanted)
    if variant is None:
        variant = next((variant for code, variant in variants.items() if code.split("-")[0] == wanted), None)
    segment = next(_children(variant, "seg"), None) if variant is not None else None
    return "" if segment is None else _SPACES.sub(" ", "".join(_text_of(segment))).strip(" ")


def _text_of(segment: Any) -> Iterator[str]:
    """The text that the translator saw: without formatting codes, with the text between them."""
    yield segment.text or ""
    for child in segment:
        if isinstance(child.tag, str) and _name(child) not in _CODES:
            yield from _text_of(child)
        yield child.tail or ""
