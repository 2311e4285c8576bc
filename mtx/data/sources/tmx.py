"""Translation memories in TMX 1.4, read unit by unit: memory does not grow with the file.

The format: https://www.gala-global.org/tmx-14b. A file may come from anyone: declared entities are not expanded, no
other file or address is opened, and libxml2's limits on depth and size stay in force.
"""

import codecs
import html.entities
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

from mtx.config.sources import Tmx
from mtx.data.sources.base import Languages, NoPair, Pair, Reader, not_found
from mtx.data.sources.text import BLOCK_BYTES, open_regular, plain_blocks
from mtx.data.sources.variants import Variants
from mtx.errors import ExitCode, UserError
from mtx.text.languages import base_language, code_without_region, is_same_language

MAX_ELEMENTS, MAX_BYTES = 10_000, 1 << 22  # Limits of one unit. Sentences over 1 MB are dropped anyway.
UNIT_BEGIN, UNIT_END, FILE_END = re.compile(rb"<tu[\s>]"), b"</tu>", b"</tmx>"  # In every encoding but UTF-16

_CODES = {"bpt", "ept", "it", "ph", "ut"}  # Elements in a segment that contain formatting, not text of the sentence
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SPACES = re.compile(r"[\t\n\r ]+")
_ENCODING = re.compile(r"\s+encoding\s*=\s*['\"][\w.-]+['\"]")
_POSITION = re.compile(r", line \d+, column \d+$")


class TmxReader(Reader[Tmx]):
    settings_type = Tmx
    suffixes = (".tmx",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        path = self.settings.tmx
        with open_regular(path) as stream:
            languages = self.settings.src or src_lang, self.settings.tgt or tgt_lang
            yield from read_tmx([(stream, str(path))], str(path), *languages, self.variants)

    def languages(self) -> Languages:
        path = self.settings.tmx
        try:
            with path.open("rb") as stream:
                return languages_of_tmx(stream, str(path))
        except OSError:
            return Languages()  # reading the pairs will say what is wrong


def languages_of_tmx(stream: BinaryIO, name: str) -> Languages:
    """The languages of the first unit, and which of them is the source by the header."""
    units = _units(plain_blocks(stream, name), name)
    unit = next((unit for unit in units if not isinstance(unit, NoPair)), None)
    if unit is None:
        return Languages()
    header = next(_children(unit.getroottree().getroot(), "header"), None)
    src = "" if header is None else header.get("srclang", "")
    codes = [_code(variant) for variant in _children(unit, "tuv")]
    languages = [base_language(code) for code in codes]
    names = [code if languages.count(base_language(code)) > 1 else code_without_region(code) for code in codes]
    others = [name for code, name in zip(codes, names, strict=True) if not is_same_language(src, code)]
    if len(names) == 2 and len(others) == 1:
        return Languages(sorted(names, key=others.__contains__), are_ordered=True)
    return Languages(names)


def read_tmx(
    files: Iterable[tuple[BinaryIO, str]], name: str, src_lang: str, tgt_lang: str, chosen: Variants
) -> Iterator[Pair]:
    """The (source, target) pairs of the units of TMX files, in order. A unit without a language has "" for it.

    Each of `files` comes with its name; `name` is that of the whole source. `chosen` chooses and counts the languages
    (`xml:lang`) of each unit: the same as wanted, or else variants, such as en-US for en.

    Raises:
        UserError: not XML, damaged, not TMX, or no unit in both languages (DATA).
    """
    languages: dict[str, None] = {}
    has_both = has_bad = False
    for unit in chain.from_iterable(_units(plain_blocks(stream, part), part) for stream, part in files):
        if isinstance(unit, NoPair):
            has_bad = True
            yield unit
            continue
        variants: dict[str, Any] = {}
        for variant in _children(unit, "tuv"):
            variants.setdefault(_code(variant), variant)
        languages |= dict.fromkeys(variants)
        codes = chosen.choose("src", src_lang, variants), chosen.choose("tgt", tgt_lang, variants)
        src, tgt = ("" if code is None else _text(variants[code]) for code in codes)
        has_both = has_both or bool(src and tgt)
        yield src, tgt
    if not has_both and (languages or not has_bad):  # if no unit is readable, `limit_bad_rows` raises
        raise not_found(f"no unit with both {src_lang} and {tgt_lang}", name, "languages", list(languages))


def _units(blocks: Iterable[bytes], name: str) -> Iterator[Any]:
    """Each complete `tu` element, freed after use, or a NoPair for a unit that is not valid XML."""
    from lxml import etree

    pieces = _pieces(_in_utf8(iter(blocks)))
    head = next(pieces)
    parser, num_lines = _Parser(name), head.count(b"\n")
    try:
        yield from parser.units(head)
        for piece in pieces:
            num_units, is_unit = 0, _is_unit(piece)
            num_lines += piece.count(b"\n")
            try:
                for unit in parser.units(piece):
                    num_units += 1
                    yield unit
                if num_units or not is_unit:
                    continue
                parser.close()  # raises the error in an incomplete unit
                return
            except etree.XMLSyntaxError as error:
                if not is_unit:
                    raise
                what, line, _ = _explain(error)
                fault = what, f"{name} line {line + parser.lines_before}", "Correct the unit there, or remove it."
                yield NoPair.of("with invalid XML", piece.decode(errors="replace").strip(), fault)
                if piece.rstrip().endswith(FILE_END):
                    return
            # A new parser goes on after the unit. It first reads the head, which has the encoding.
            parser = _Parser(name, num_lines - head.count(b"\n"))
            list(parser.units(head))
        parser.close()
    except etree.XMLSyntaxError as error:
        what, line, do = _explain(error)
        raise UserError(ExitCode.DATA, what, where=f"{name} line {line + parser.lines_before}", do=do) from error


def _is_unit(piece: bytes) -> bool:
    """Whether `piece` ends with a unit that is not inside a comment or CDATA, or has one that the file's end ends."""
    is_open = any(piece.rfind(begin) > piece.rfind(end) for begin, end in ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>")))
    is_last = piece.rstrip().endswith(FILE_END) and UNIT_BEGIN.search(piece) is not None
    return not is_open and (is_last or piece.endswith(UNIT_END))


def _in_utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """`blocks`, changed from UTF-16 to UTF-8 if they begin with its byte-order mark."""
    first = next(blocks, b"")
    if not first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield first
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder("utf-16")("replace")
    yield _ENCODING.sub("", decoder.decode(first), count=1).encode()
    yield from (decoder.decode(block).encode() for block in blocks)


def _pieces(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a file before its first unit and after each unit; stretches without either, into pieces of limited size."""
    begun, is_head, searched = bytearray(), True, 0
    for block in blocks:
        begun += block
        if is_head and ((unit := UNIT_BEGIN.search(begun)) or len(begun) > BLOCK_BYTES):
            end = unit.start() if unit else len(begun)
            if (stray := begun.find(UNIT_END, 0, end)) >= 0:
                end = stray
            yield bytes(begun[:end])
            del begun[:end]
            is_head = False
        if not is_head:
            while (end := begun.find(UNIT_END, searched)) >= 0:
                end += len(UNIT_END)
                yield bytes(begun[:end])
                del begun[:end]
                searched = 0
            searched = max(0, len(begun) - len(UNIT_END) + 1)
            if len(begun) > MAX_BYTES or (len(begun) > BLOCK_BYTES and not UNIT_BEGIN.search(begun)):
                yield bytes(begun)
                begun.clear()
                searched = 0
    yield bytes(begun)


def _explain(error: Any) -> tuple[str, int, str]:
    """The problem, its line and the remedy for XML that is not valid."""
    from lxml import etree

    reason = _POSITION.sub("", " ".join((error.msg or "not XML").split()))[:200]
    is_encoding = error.code in (etree.ErrorTypes.ERR_INVALID_ENCODING, etree.ErrorTypes.ERR_INVALID_CHAR)
    do = "Correct the text there, or convert it to UTF-8." if is_encoding else "Give a complete TMX file."
    return f"invalid XML: {reason}", error.position[0] if error.position else 0, do


class _Parser:
    """Incremental parser: takes bytes and gives complete `tu` elements. All elements are freed after use."""

    def __init__(self, name: str, lines_before: int = 0) -> None:
        """Begin at the start of a file, or after `lines_before` lines that other parsers have read."""
        from lxml import etree

        self.lines_before = lines_before
        self._name, self._is_first, self._unit = name, True, None
        self._num_held = self._num_bytes = 0  # elements and bytes since the last element was freed
        self._parser: Any = etree.XMLPullParser(
            events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True,
            remove_pis=True,
        )  # fmt: skip

    def units(self, data: bytes) -> Iterator[Any]:
        """Each `tu` element that `data` completes.

        Raises:
            XMLSyntaxError: it is not XML.
            UserError: it is not TMX, or a unit is too large (DATA).
        """
        for begin in range(0, len(data), BLOCK_BYTES):
            yield from self._units(data[begin : begin + BLOCK_BYTES])

    def _units(self, data: bytes) -> Iterator[Any]:
        self._parser.feed(data)
        self._num_bytes += len(data)
        for event, element in self._parser.read_events():
            tag = _name(element)
            if self._is_first and tag != "tmx":
                what, do = f"the root element is {tag[:40]}, not tmx", "Give a TMX file."
                raise UserError(ExitCode.DATA, what, where=self._name, do=do)
            self._is_first = False
            if event == "start":
                self._num_held += 1
                self._unit = element if self._unit is None and tag == "tu" else self._unit
            elif self._unit is None or element is self._unit:
                if self._unit is not None:
                    yield element
                _free(element)
                self._unit, self._num_held, self._num_bytes = None, 0, 0
        if self._num_held > MAX_ELEMENTS or self._num_bytes > MAX_BYTES:
            line = "" if self._unit is None else f" line {self._unit.sourceline + self.lines_before}"
            where = f"{self._name}{line}"
            raise UserError(ExitCode.DATA, "a unit is too large to be sentences", where=where, do="Remove it.")

    def close(self) -> None:
        self._parser.close()


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


def _code(variant: Any) -> str:
    return str(variant.get(_XML_LANG) or variant.get("lang") or "")


def _text(variant: Any) -> str:
    segment = next(_children(variant, "seg"), None)
    return "" if segment is None else _SPACES.sub(" ", "".join(_text_of(segment))).strip(" ")


def _text_of(segment: Any) -> Iterator[str]:
    """The text that the translator saw: without formatting codes, with the text between them."""
    yield segment.text or ""
    for child in segment:
        if not isinstance(child.tag, str):  # an entity, as everything else was removed
            yield html.entities.html5.get(str(child.text)[1:], "")  # one of HTML; no other is expanded
        elif _name(child) not in _CODES:
            yield from _text_of(child)
        yield child.tail or ""
