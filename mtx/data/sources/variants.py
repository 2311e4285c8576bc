"""Variants of a language: several codes in a source that stand for the wanted one, as zh-CN and zh-TW for zh."""

from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache

from mtx.text.languages import is_variant, matching_codes, parts_of


class Variants:
    """Choice among the codes of each unit of a source, with counts of those that stand for the wanted languages."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, tuple[str, ...]]] = Counter()

    def choose(self, side: str, wanted: str, codes: Collection[str]) -> str | None:
        """Return the code that means the language `wanted` for `side` (src or tgt), the first if several do."""
        found = _matching(wanted, tuple(codes))
        self._counts[side, wanted, found] += 1
        return found[0] if found else None

    def notes(self) -> Iterator[str]:
        """Yield a line for each side on which several codes were found."""
        for side, wanted in dict.fromkeys(key[:2] for key in self._counts):
            counts: Counter[str] = Counter()
            for (its_side, its_wanted, found), count in self._counts.items():
                if (its_side, its_wanted) == (side, wanted):
                    counts.update(dict.fromkeys(found, count))
            if len(set(map(parts_of, counts))) > 1:
                listed = ", ".join(f"{code} ({count:,})" for code, count in counts.most_common())
                what = f"several variants of {wanted}: {listed}; of those beside each other the first is used"
                narrower = [code for code, _ in counts.most_common() if not is_variant(wanted, code)]
                yield what + (f". To take one only, write {side}_lang: {narrower[0]}" if narrower else "")


@lru_cache(4096)
def _matching(wanted: str, codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(matching_codes(wanted, codes))
