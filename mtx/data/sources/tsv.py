"""Tab-separated files: one pair a line."""

from collections.abc import Iterator

from mtx.config.sources import Tsv
from mtx.data.sources.base import Pair, Reader
from mtx.data.sources.text import read_regular_file
from mtx.errors import ExitCode, UserError


class TsvReader(Reader[Tsv]):
    settings_type = Tsv
    suffixes = (".tsv",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        src, tgt, path = self.settings.src, self.settings.tgt, self.settings.tsv
        needed, expected = max(src, tgt), 0
        for number, line in enumerate(read_regular_file(path, self.settings.encoding), start=1):
            if not line:
                yield "", ""
                continue
            columns = line.split("\t")
            if len(columns) < needed:
                what, do = f"found {len(columns)} columns, needed {needed}", "Separate columns by one tab."
                raise UserError(ExitCode.DATA, what, where=f"{path} line {number}", do=do)
            expected = expected or len(columns)
            if len(columns) > expected:  # text after a stray tab would be lost
                what, do = f"found {len(columns)} columns, {expected} in the lines before", "Remove the stray tabs."
                raise UserError(ExitCode.DATA, what, where=f"{path} line {number}", do=do)
            yield columns[src - 1], columns[tgt - 1]
