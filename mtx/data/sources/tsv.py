"""Tab-separated files: one pair a line."""

from collections.abc import Iterable, Iterator, Sequence

from mtx.config.sources import Csv, Tsv
from mtx.data.sources.base import NoPair, Pair, Reader
from mtx.data.sources.text import read_rows

Columns = Sequence[str]


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
    needed, expected = max(src, tgt), 0
    for number, columns in enumerate(rows, start=1):
        if isinstance(columns, NoPair):
            yield columns
        elif number == 1 and settings.header:
            yield NoPair.of("header", " | ".join(columns))
        elif not any(columns):
            yield "", ""
        elif len(columns) < needed:
            fault = f"found {len(columns)} columns, needed {needed}", f"{name} line {number}", remedies[0]
            yield NoPair.of("with too few columns", " | ".join(columns), fault)
        elif len(columns) > (expected := expected or len(columns)):  # text after a stray delimiter would be lost
            what = f"found {len(columns)} columns, {expected} in the lines before"
            fault = what, f"{name} line {number}", remedies[1]
            yield NoPair.of("with too many columns", " | ".join(columns), fault)
        else:
            yield columns[src - 1], columns[tgt - 1]
