"""Variants of a language: several codes in a source that match the wanted one, as zh-CN and zh-TW match zh."""

from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache

from mtx.text.languages import is_variant, matching_codes, parts_of


class Variants:
    """Chooses among the language codes of each unit of a source, and counts those that match the wanted languages."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, tuple[str, ...]]] = Counter()

    def choose(self, side: str, wanted: str, codes: Collection[str]) -> str | None:
        """Return the first code that means the language `wanted`, for a side (src or tgt); None if no code does."""
        found = _matching(wanted, tuple(codes))
        self._counts[side, wanted, found] += 1
        return found[0] if found else None

    def notes(self) -> Iterator[str]:
        """Yield a line for the user about each side on which several variants were found."""
        for side, wanted in dict.fromkeys(key[:2] for key in self._counts):
            counts: Counter[str] = Counter()
            for (its_side, its_wanted, found), count in self._counts.items():
                if (its_side, its_wanted) == (side, wanted):
                    counts.update(dict.fromkeys(found, count))
            if len(set(map(parts_of, counts))) > 1:
                listed = ", ".join(f"{code} ({count:,})" for code, count in counts.most_common())
                what = f"several variants of {wanted}: {listed}; where a unit has more than one, the first is used"
                narrower = [code for code, _ in counts.most_common() if not is_variant(wanted, code)]
                yield what + (f". To use one only, set {side}_lang: {narrower[0]}" if narrower else "")


@lru_cache(4096)
def _matching(wanted: str, codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(matching_codes(wanted, codes))
