"""Loops: characters or words repeated more often than the source explains, and a search that avoids them."""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mtx.decode.search import Hypothesis

LONGEST_UNIT = 80  # Characters of the longest unit whose repetitions are found, about a clause
_SHORT_RUN = re.compile(r"(.{1,4}?)\1{3}", re.DOTALL)  # More than MAX_REPEATS repetitions of a few characters
LONG_WORD = 20  # Characters from which a word may consist of more repetitions than allowed that are no short run
LETTERS, DIGITS, NUMBERS = "letters", "digits", "numbers"  # Kinds of units
MAX_REPEATS = 3  # Repetitions of a unit that need no explanation: "no, no, no", "Schifffahrt"
MAX_ZEROS = 12  # Repetitions of zeros: 1000000 may be a million in the source
MAX_EXPLAINED = 2  # Repetitions that one in the source explains: "ha ha ha" may become "hahahahaha"
MAX_COPIED = 10  # Repetitions that one of the same sign in the source explains: "..." may become a line of dots


def _repetitions(times: int, length: int) -> re.Pattern[str]:
    """The pattern for at least `times` repetitions of a unit, in a text of `length` characters; `re` caches it."""
    return re.compile(rf"(.{{1,{min(LONGEST_UNIT, length // times + 1)}}}?)\1{{{times - 1},}}", re.DOTALL)


class Loops:
    """Limits of the repetitions in translations of one source; more are a loop."""

    def __init__(self, src: str) -> None:
        """Find the repetitions in `src`, which explain repetitions of the same kind in a translation."""
        self._explained: dict[str, int] = {}
        for run in _repetitions(MAX_REPEATS, len(src)).finditer(f" {src}"):
            kind = _kind(run[1])
            times = MAX_EXPLAINED if kind in (LETTERS, DIGITS, NUMBERS) else MAX_COPIED
            self._explained[kind] = max(self._explained.get(kind, 0), times * (len(run[0]) // len(run[1])))

    def limit(self, unit: str) -> int:
        """The largest number of repetitions of `unit` that is no loop."""
        kind = _kind(unit)
        are_zeros = kind in (DIGITS, NUMBERS) and all(unicodedata.digit(char, 0) == 0 for char in unit)
        return max(MAX_ZEROS if are_zeros else MAX_REPEATS, self._explained.get(kind, 0))

    def find(self, text: str) -> Iterator[re.Match[str]]:
        """Yield the loops: runs in `text` with more repetitions than allowed."""
        # A space in front gives the first word the form of the others.
        for run in _repetitions(MAX_REPEATS + 1, len(text)).finditer(f" {text}"):
            if len(run[0]) // len(run[1]) > self.limit(run[1]):
                yield run

    def cut(self, text: str) -> str:
        """`text` with its loops cut to the repetitions that are allowed."""
        pattern = _repetitions(MAX_REPEATS + 1, len(text))
        shorter = pattern.sub(lambda run: run[0][: self.limit(run[1]) * len(run[1])], f" {text}")[1:]
        return text if shorter == text else self.cut(shorter)  # a loop may contain another


def loops_in(src: str, hypotheses: Sequence[Hypothesis], texts: Sequence[str]) -> Loops | None:
    """The loops of `src`, if the text of one of its hypotheses has any; else None."""
    repeating = [text for each, text in zip(hypotheses, texts, strict=True) if _repeats(each, text)]
    loops = Loops(src) if repeating else None
    return loops if loops is not None and any(any(loops.find(text)) for text in repeating) else None


def may_loop(text: str) -> bool:
    """Whether `text` may have a loop: a fast test that most texts fail."""
    words = text.split()
    has_repeats = len(words) - len(set(words)) > 1 or len(max(words, key=len, default="")) >= LONG_WORD
    return has_repeats or _SHORT_RUN.search(text) is not None


def _repeats(hypothesis: Hypothesis, text: str) -> bool:
    """Whether `text` has more than `MAX_REPEATS` repetitions of a unit. Few texts pass the first, fast tests."""
    is_likely = len(hypothesis.ids) - len(set(hypothesis.ids)) >= MAX_REPEATS or _SHORT_RUN.search(text)
    return bool(is_likely and _repetitions(MAX_REPEATS + 1, len(text)).search(f" {text}"))


def _kind(unit: str) -> str:
    """The kind of `unit`: letters, digits alone or with signs, or else the sign itself, normalized by NFKC."""
    if any(map(str.isalpha, unit)):
        return LETTERS
    if any(map(str.isdigit, unit)):
        return DIGITS if unit.isdigit() else NUMBERS
    return unicodedata.normalize("NFKC", unit).strip()


class Surfaces:
    """The text of each token, in bytes, and the tokens by their text."""

    def __init__(self, by_id: Sequence[bytes]) -> None:
        self.by_id = by_id
        self._sorted_ids = sorted((id_ for id_, text in enumerate(by_id) if text), key=by_id.__getitem__)
        self._sorted = [by_id[id_] for id_ in self._sorted_ids]
        self.longest = max(map(len, by_id))
        runs = (
            (id_, run)
            for id_, text in enumerate(by_id)
            for run in _repetitions(MAX_REPEATS + 1, len(text)).finditer(text.decode(errors="ignore"))
        )
        self.with_runs = [(id_, run[1], len(run[0]) // len(run[1])) for id_, run in runs]

    def beginning_with(self, text: bytes) -> list[int]:
        """Find the tokens that begin with `text`."""
        first = bisect_left(self._sorted, text)
        end = bisect_right(self._sorted, text, lo=first, key=lambda other: other[: len(text)])
        return self._sorted_ids[first:end]

    def equal_to(self, text: bytes) -> list[int]:
        """Find the tokens that are `text`."""
        return self._sorted_ids[bisect_left(self._sorted, text) : bisect_right(self._sorted, text)]


class NoLoops:
    """Makes tokens impossible that would complete a loop, or nearly. Slow, but loops are rare."""

    def __init__(self, surfaces: Surfaces, loops: Sequence[Loops]) -> None:
        """Prepare for sentences whose translations may have these `loops`."""
        self._surfaces, self._loops = surfaces, loops

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        for row, (ids, sentence) in enumerate(zip(ids_RT[:, 1:].tolist(), sentences_R.tolist(), strict=True)):
            text = b"".join(self._surfaces.by_id[id_] for id_ in ids)
            logp_RV[row, list(self._impossible(text, self._loops[sentence]))] = -torch.inf

    def _impossible(self, text: bytes, loops: Loops) -> Iterator[int]:
        """Yield the tokens that would make `text` end in a loop, or that contain one."""
        yield from (id_ for id_, unit, count in self._surfaces.with_runs if count >= loops.limit(unit))
        for size in self._sizes_of_units(text):
            unit = text[-size:]
            length = size  # of the longest suffix of the text that repeats every `size` bytes
            while length < len(text) and text[-length - 1] == text[-length - 1 + size]:
                length += 1
            if MAX_REPEATS * size - length > self._surfaces.longest:
                continue
            # Bytes up to the last repetition that is allowed: to forbid it already leads out of a loop sooner.
            num_missing = max(1, loops.limit(unit.decode(errors="ignore")) * size - length)
            if num_missing > self._surfaces.longest:
                continue
            more = unit * (num_missing // size + 1)
            yield from self._surfaces.beginning_with(more[:num_missing])

    def _sizes_of_units(self, text: bytes) -> Iterator[int]:
        """Yield possible sizes of a repeated unit at the end; if longer than all tokens, its end occurs before."""
        longest = self._surfaces.longest
        yield from range(1, min(longest, len(text)) + 1)
        end, start = text[-longest:], len(text) - longest
        while start > 0 and (start := text.rfind(end, 0, start + longest - 1)) >= 0:
            yield len(text) - longest - start
