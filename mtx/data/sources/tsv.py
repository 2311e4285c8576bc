"""Tab-separated files: one pair a line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from mtx.config.sources import Csv, Tsv
from mtx.data.sources.base import NoPair, Pair, Reader
from mtx.data.sources.text import read_rows

Columns = Sequence[str]
# Rows, and their characters, by which the usual number of columns is found
NUM_LOOKED_AT, MAX_LOOKED_AT = 100, 1 << 16


class TsvReader(Reader[Tsv]):
    settings_type = Tsv
    suffixes = (".tsv",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        remedies = "Separate columns by one tab.", "Remove the stray tabs."
        return pairs_of_columns(self.rows(), self.settings, str(self.settings.tsv), remedies)

    def rows(self) -> Iterator[Columns | NoPair]:
        """The columns of each line."""
        for row in read_rows(self.settings.tsv, self.settings.encoding):
            yield row.split("\t") if isinstance(row, str) else row


def pairs_of_columns(
    rows: Iterable[Columns | NoPair], settings: Tsv | Csv, name: str, remedies: tuple[str, str]
) -> Iterator[Pair]:
    """The pairs in two columns of `rows`. `remedies` are for rows with too few and with too many columns."""
    src, tgt = settings.src, settings.tgt
    needed, rows = max(src, tgt), iter(rows)
    first, num_chars = list[Columns | NoPair](), 0
    while len(first) < NUM_LOOKED_AT and num_chars < MAX_LOOKED_AT and (row := next(rows, None)) is not None:
        first.append(row)
        num_chars += sum(map(len, row))
    widths = Counter(len(row) for row in first if not isinstance(row, NoPair) and len(row) >= needed)
    usual = max(widths, key=widths.__getitem__, default=needed)
    for number, columns in enumerate(chain(first, rows), start=1):
        if isinstance(columns, NoPair):
            yield columns
        elif number == 1 and settings.header:
            yield NoPair.of("header", " | ".join(columns))
        elif not any(columns):
            yield "", ""
        elif len(columns) < needed:
            fault = f"found {len(columns)} columns, needed {needed}", f"{name} line {number}", remedies[0]
            yield NoPair.of("with too few columns", " | ".join(columns), fault)
        elif len(columns) > usual:  # text after a stray delimiter would be lost
            fault = f"found {len(columns)} columns, {usual} are usual", f"{name} line {number}", remedies[1]
            yield NoPair.of("with too many columns", " | ".join(columns), fault)
        else:
            yield columns[src - 1], columns[tgt - 1]
