"""The columns of a table that hold source and target, by their header, digits, scripts, languages and lengths."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice, product

import numpy as np
import regex

from mtx.config.sources import Csv, Source, Tsv
from mtx.data.cleaning.rules import is_in_another_language, is_in_another_script, size_of
from mtx.data.sources.base import NoPair, language_of_name
from mtx.data.sources.csv import CsvReader
from mtx.data.sources.tsv import Columns, TsvReader
from mtx.errors import ExitCode, UserError
from mtx.system.logs import LOGGER
from mtx.text.languages import NAMES, base_language, is_same_language
from mtx.text.writing_systems import SCRIPTS

MAX_ROWS = 1000  # Rows of a table that are looked at
MAX_CHARS = 3000  # Characters of a column by which its language is identified
MAX_LABEL_SHARE = 0.02  # Largest share of distinct values in a column of labels; sentences differ more
MIN_CORRELATION = 0.5  # Least correlation between the lengths of sentences and of their translations
MIN_LEAD = 0.3  # Least difference from the correlation of the next pair of columns

# Words in headers that name a side (0: source, 1: target), and words that say nothing about the language
SIDES = {"source": 0, "src": 0, "original": 0, "target": 1, "tgt": 1, "trg": 1, "translation": 1, "reference": 1}
FILLERS = {
    "", "id", "text", "sentence", "sentences", "sent", "lang", "language", "column", "col", "input", "output", *SIDES,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """The first rows of a table, without those that have an unusual number of columns."""

    name: str
    header: Columns  # Names of the columns; empty without a header
    columns: list[Columns]  # Cells of each column, without the header

    def __str__(self) -> str:
        firsts = [next(filter(None, cells), "") for cells in self.columns]
        heads = [f"{name}: " for name in self.header] or [""] * len(firsts)
        cells = [f"{head}{first}"[:30] for head, first in zip(heads, firsts, strict=True)]
        return " | ".join(f"{number} {cell}" for number, cell in enumerate(cells, start=1))


def choose_columns(
    sources: Sequence[Source], src_lang: str | None, tgt_lang: str | None, given: Sequence[str]
) -> tuple[list[Source], str | None, str | None]:
    """Set columns and header of the tables among `sources`; `given` holds two column numbers or names, or nothing.

    Also returns the languages: if neither is given, those that a header names.

    Raises:
        UserError: the columns of a table are unclear, or it has none of that name (USAGE); it can't be read (DATA).
    """
    chosen: list[Source] = []
    for source in sources:
        if isinstance(source, Tsv | Csv) and len((table := _read_table(source)).columns) > 1:
            codes = [_language_of(name) for name in table.header]
            if given:
                src, tgt = (_index(table, column.strip()) for column in given)
            else:
                src, tgt = _choose(table, src_lang, tgt_lang)
            if codes and src_lang is None and tgt_lang is None:
                src_lang, tgt_lang = codes[src], codes[tgt]
            source = source.model_copy(update={"src": src + 1, "tgt": tgt + 1, "header": bool(table.header)})
            if (src, tgt) != (0, 1) or table.header:
                header = ", first line is a header" if table.header else ""
                LOGGER.info("columns     %s: source in %d, target in %d%s", table.name, src + 1, tgt + 1, header)
        chosen.append(source)
    return chosen, src_lang, tgt_lang


def _read_table(source: Tsv | Csv) -> Table:
    reader = CsvReader(source) if isinstance(source, Csv) else TsvReader(source)
    rows = [row for row in islice(reader.rows(), MAX_ROWS) if not isinstance(row, NoPair) and any(row)]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    usual = [row for row in rows if len(row) == width]
    columns = list(map(list, zip(*usual, strict=True)))
    num_quoted = sum(len(cell) > 1 and cell[0] == cell[-1] == '"' for row in usual for cell in row)
    if isinstance(source, Tsv) and 2 * num_quoted > len(usual) * width:
        what = "%s: most fields are in quotes, which stay part of the text; {csv: %s, delimiter: tab} drops them"
        LOGGER.warning(what, reader.label, source.tsv)
    header = rows[0] if rows and len(rows[0]) == width and _is_header(columns) else []
    return Table(reader.label, header, [cells[bool(header) :] for cells in columns])


def _is_header(columns: Sequence[Columns]) -> bool:
    """Whether the first row names the columns: two cells name sides or languages, or one is text above numbers."""
    firsts = [cells[0].strip() for cells in columns]
    telling = [first for first in firsts if _words_of(first)]  # unlike `id`, which may name two columns
    if len({*telling}) < len(telling) or any(len(first) > 40 or not _has_letters(first) for first in firsts if first):
        return False
    if any(first in others for first, *others in columns if first):  # a label
        return False
    named = [first for first in firsts if first and (_language_of(first) is not None or not _words_of(first))]
    above = [first for first, *others in columns if first and others and not any(map(_has_letters, others))]
    return len(named) > 1 or bool(above)


def _choose(table: Table, src_lang: str | None, tgt_lang: str | None) -> tuple[int, int]:
    """The indices of the columns of the source and the target."""
    texts = [index for index, cells in enumerate(table.columns) if _is_text(cells)]
    sides = [_candidates(table, texts, side, language) for side, language in enumerate((src_lang, tgt_lang))]
    pairs = [(src, tgt) for src, tgt in product(*sides) if src != tgt]
    if len(pairs) == 1 or (len(pairs) == 2 and pairs[0] == pairs[1][::-1]):  # two columns in either order
        return pairs[0]
    one_way = [(src, tgt) for src, tgt in pairs if src < tgt or (tgt, src) not in pairs]
    ranked = sorted(((_length_correlation(table, *pair), pair) for pair in one_way), reverse=True)
    if ranked and ranked[0][0] > MIN_CORRELATION and all(other < ranked[0][0] - MIN_LEAD for other, _ in ranked[1:]):
        return ranked[0][1]
    if len(table.columns) == 2:
        return 0, 1  # there is no other choice
    raise _unclear(table, f"cannot tell which columns hold {src_lang or 'the source'} and {tgt_lang or 'the target'}")


def _candidates(table: Table, texts: Sequence[int], side: int, language: str | None) -> Sequence[int]:
    """The columns among `texts` that may hold a side: by their names, then by script and language."""
    named = [index for index, name in enumerate(table.header) if index in texts and _mentions(name, side, language)]
    found = named or texts
    if language is None or len(found) < 2:
        return found
    return [index for index in found if _may_be(table.columns[index], language)] or found


def _mentions(name: str, side: int, language: str | None) -> bool:
    """Whether a column name mentions a side or its language."""
    code = _language_of(name)
    return _side_of(name) == side or (code is not None and language is not None and is_same_language(code, language))


def _unclear(table: Table, what: str) -> UserError:
    do = "Give --columns SRC,TGT, such as --columns 2,4."
    return UserError(ExitCode.USAGE, f"{what}: {table}", where=table.name, do=do)


def _index(table: Table, column: str) -> int:
    """The index of a column by its number or its name."""
    if column.isdecimal() and 0 < int(column) <= len(table.columns):
        return int(column) - 1
    if column in table.header:
        return table.header.index(column)
    raise _unclear(table, f"no column {column}")


def _is_text(cells: Columns) -> bool:
    """Whether most cells hold words, not numbers, ids, web addresses or one of a few labels."""
    filled = [cell for cell in cells if cell.strip()]
    if len(filled) >= 1 / MAX_LABEL_SHARE and len({*filled}) <= MAX_LABEL_SHARE * len(filled):
        return False
    return 2 * sum(map(_is_words, filled)) > len(filled)


def _is_words(cell: str) -> bool:
    is_id = " " not in cell.strip() and (any(map(str.isdigit, cell)) or "://" in cell or "www." in cell)
    return not is_id and 2 * len(regex.findall(r"[\p{L}\p{M}]", cell)) >= len("".join(cell.split())) > 0


def _has_letters(cell: str) -> bool:
    return any(map(str.isalpha, cell))


def _side_of(name: str) -> int | None:
    """The side, 0 or 1, that a column name mentions."""
    sides = {SIDES[word] for word in regex.split(r"[\W_]+", name.lower()) if word in SIDES}
    return sides.pop() if len(sides) == 1 else None


def _language_of(name: str) -> str | None:
    """The language that the name of a column tells: en, text_en, German, deu_Latn."""
    words = _words_of(name)
    code = language_of_name(f"x.{name.strip()}")
    if code is None and len(words) == 1:
        code = NAMES.get(words[0]) or language_of_name(f"x.{words[0]}")
    return code if code is not None and base_language(code) in SCRIPTS and words else None


def _words_of(name: str) -> list[str]:
    """The words in the name of a column that are not usual there."""
    return [word for word in regex.split(r"[\W\d_]+", name.lower()) if word not in FILLERS]


def _may_be(cells: Columns, language: str) -> bool:
    """Whether a column may be in a language, by its script and, if py3langid is installed, by its words."""
    text = " ".join(cells)[:MAX_CHARS]
    sides = text, text, language, language
    return not (is_in_another_script(*sides) or (find_spec("py3langid") and is_in_another_language(*sides)))


def _length_correlation(table: Table, src: int, tgt: int) -> float:
    """The correlation between the log-lengths of the cells in two columns."""
    one, other = (np.log([1 + size_of(cell) for cell in table.columns[index]]) for index in (src, tgt))
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else 0.0
