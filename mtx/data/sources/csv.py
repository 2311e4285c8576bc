"""Comma-separated files, as spreadsheets write them: fields in quotes may hold delimiters and line breaks."""

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain, islice

from mtx.config.sources import Csv
from mtx.data.sources.base import NoPair, Pair, Reader
from mtx.data.sources.text import Row, read_rows
from mtx.data.sources.tsv import Columns, pairs_of_columns
from mtx.system.logs import LOGGER

MAX_RECORD_LINES = 100  # Lines of a record; with more, a quote was never closed
NUM_SNIFFED = 100  # First lines, by which the delimiter is chosen
DELIMITERS = {"tab": "\t", "semicolon": ";", "comma": ","}  # From rare to frequent in text
_SPACED = re.compile(r'"[^"]*"[,;\t] +"')  # Spaces between a delimiter and a quote
QUOTE = "Put fields with delimiters or quotes into quotes, and double the quotes in them."


class CsvReader(Reader[Csv]):
    settings_type = Csv
    suffixes = (".csv",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        remedies = "Set src, tgt and delimiter of the source.", QUOTE
        return pairs_of_columns(self.rows(), self.settings, str(self.settings.csv), remedies)

    def rows(self) -> Iterator[Columns | NoPair]:
        """The columns of each record; a line break in a field becomes a space."""
        settings, num_breaks = self.settings, 0
        lines = read_rows(settings.csv, settings.encoding)
        first = list(islice(lines, NUM_SNIFFED))
        readable = [row for row in first if isinstance(row, str)]
        delimiter = DELIMITERS.get(settings.delimiter) or _most_regular(readable)
        is_spaced = 2 * sum(_SPACED.match(row) is not None for row in readable) > len(readable)
        for record in _records(chain(first, lines), delimiter, str(settings.csv), is_spaced):
            if not isinstance(record, NoPair) and any("\n" in field for field in record):
                num_breaks += sum(field.count("\n") for field in record)
                yield [field.replace("\n", " ") for field in record]
            else:
                yield record
        if num_breaks:
            _log_breaks(self.label, num_breaks)


def _records(
    lines: Iterator[Row], delimiter: str, name: str = "", is_spaced: bool = False
) -> Iterator[Columns | NoPair]:
    """The fields of each record. If a record is not CSV, its first line is bad; reading goes on at its second line."""
    pending, taken = deque[Row](), list[Row]()  # lines to read once more, and lines of the current record
    num_lines = 0

    def feed() -> Iterator[str]:
        while len(taken) < MAX_RECORD_LINES:
            row = pending.popleft() if pending else next(lines, None)
            if row is not None:
                taken.append(row)
            if not isinstance(row, str):
                return
            yield f"{row}\n"

    while True:
        try:
            for record in csv.reader(feed(), delimiter=delimiter, strict=True, skipinitialspace=is_spaced):
                num_lines += len(taken)
                taken.clear()
                yield record
            if not taken:
                return
            bad = taken[0]
        except csv.Error as error:
            bad = taken[0]
            if isinstance(bad, str):
                bad = NoPair.of("not CSV", bad, (f"not CSV: {error}", f"{name} line {num_lines + 1}", QUOTE))
        pending.extendleft(reversed(taken[1:]))
        taken.clear()
        num_lines += 1
        if isinstance(bad, NoPair):
            yield bad


def _most_regular(lines: Sequence[str]) -> str:
    """The delimiter that gives the most of `lines` the same number of columns, at least two."""

    def regularity(delimiter: str) -> int:
        records = _records(iter(lines), delimiter)
        widths = Counter(len(record) for record in records if not isinstance(record, NoPair))
        return max((count for width, count in widths.items() if width > 1), default=0)

    return max(DELIMITERS.values(), key=regularity)


@cache  # logged once, however often the file is read
def _log_breaks(name: str, count: int) -> None:
    LOGGER.info("%s: %s line breaks inside fields became spaces", name, f"{count:,}")
