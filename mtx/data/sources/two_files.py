"""Two files of text: line n of one translates line n of the other."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest

from mtx.config.sources import TwoFiles
from mtx.data.sources.base import Languages, NoPair, Pair, Reader, language_of_name
from mtx.data.sources.text import Row, read_rows
from mtx.errors import ExitCode, UserError


class TwoFilesReader(Reader[TwoFiles]):
    settings_type = TwoFiles

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        return pair_lines(self._sides(), [path.name for path in self.files()], self._first_mismatch)

    def languages(self) -> Languages:
        codes = [code for path in self.files() if (code := language_of_name(path.name)) is not None]
        return Languages(codes, are_ordered=len(codes) == 2)

    def _first_mismatch(self) -> str:
        """Say where the lengths of the two sides first disagree badly."""
        total_src = total_tgt = number = 0
        for num_src, num_tgt in self._lengths():
            total_src, total_tgt = total_src + num_src, total_tgt + num_tgt
        # Chinese needs a third of the characters of English, so compare each pair with the usual ratio.
        usual = (1 + total_src) / (1 + total_tgt)
        for number, (num_src, num_tgt) in enumerate(self._lengths(), start=1):
            scaled = num_tgt * usual
            if (num_src == 0) != (num_tgt == 0) or (max(num_src, scaled) > 20 and not 0.25 < num_src / scaled < 4):
                return f"lengths first disagree at line {number}"
        return f"lengths agree up to line {number}"

    def _lengths(self) -> Iterator[tuple[int, int]]:
        sides = ((len(row.strip()) if isinstance(row, str) else 0 for row in side) for side in self._sides())
        return zip(*sides, strict=False)

    def _sides(self) -> list[Iterator[Row]]:
        return [read_rows(path, self.settings.encoding) for path in self.files()]


def pair_lines(sides: Iterable[Iterable[Row]], names: Sequence[str], where: Callable[[], str]) -> Iterator[Pair]:
    """Pair the lines of both sides. If one can't be read, the pair can't.

    Raises:
        UserError: one side has more lines; the error names the two files and the place that `where` finds (DATA).
    """
    counts = [0, 0]
    for src, tgt in zip_longest(*sides):
        counts[0] += src is not None
        counts[1] += tgt is not None
        if src is not None and tgt is not None:
            if isinstance(src, NoPair):
                yield src
            else:
                yield tgt if isinstance(tgt, NoPair) else (src, tgt)
    if counts[0] != counts[1]:
        what = f"{names[0]} has {counts[0]} lines, {names[1]} {counts[1]}"
        raise UserError(ExitCode.DATA, what, where=where(), do="Line n of each must translate the other's.")
