"""Segments: the parts of a line that are translated one by one, and joining their translations.

A segment includes the white space around it: the segments of a line, joined, are the line.
"""

import re
from collections.abc import Callable, Sequence

from mtx.text.sentences import split_sentences
from mtx.text.tokenizer import without_breaks
from mtx.text.writing_systems import writes_spaces

CountTokens = Callable[[str], int]

_CLAUSE_END = re.compile(r"(?<=[,;:،؛)—–])\s+|(?<=[，；：、])")
_SPACE_IN_SENTENCE = re.compile(r"(?<![\s.])\s+")  # Not after a full stop: there it belongs to an abbreviation
_SPACE = re.compile(r"\s+")


def group_sentences(sentences: Sequence[str], max_sentences: int) -> list[str]:
    """Join neighbours with one space or none between them, to segments of at most `max_sentences`."""
    return ["".join(group) for group in _groups(sentences, [1] * len(sentences), max_sentences)]


def cut_to_fit(text: str, language: str, count_tokens: CountTokens, limit: int) -> list[str]:
    """Cut `text` to at most `limit` tokens a segment: at ends of sentences, else of clauses, else at spaces.

    Short neighbours are joined again up to `limit`. A single character is not cut.
    """
    if count_tokens(text.strip()) <= limit:
        return [text]
    parts = [part for sentence in split_sentences(text, language) for part in _halves(sentence, count_tokens, limit)]
    segments = []
    for group in _groups(parts, [count_tokens(part.strip()) for part in parts], limit):
        joined = "".join(group)
        # A joined text may have more tokens than its parts together.
        segments += [joined] if len(group) == 1 or count_tokens(joined.strip()) <= limit else group
    return segments


def join_translations(segments: Sequence[str], translations: Sequence[str], language: str) -> str:
    """Join translations as `language` joins sentences. White space between segments, unless one space, is kept."""
    usual = " " if writes_spaces(language) else ""
    line, space = without_breaks(segments[0][: len(segments[0]) - len(segments[0].lstrip())]), ""
    for segment, following, translation in zip(segments, [*segments[1:], ""], translations, strict=True):
        after = segment[len(segment.rstrip()) :]
        is_in_word = not after and segment.isascii() and following.isascii()
        if translation:
            line += space + translation
            space = "" if is_in_word else usual
        if _is_layout(after) or not following:
            space = without_breaks(after)
    return line + space


def _is_layout(space: str) -> bool:
    """Whether white space between sentences is more than a single space, and so is kept."""
    return space not in ("", " ")


def _groups(parts: Sequence[str], sizes: Sequence[int], max_size: int) -> list[list[str]]:
    """Group neighbours up to a sum of sizes, but never two with layout between them."""
    groups: list[list[str]] = []
    group_size = 0
    for part, size in zip(parts, sizes, strict=True):
        if not groups or group_size + size > max_size or _is_layout(groups[-1][-1][len(groups[-1][-1].rstrip()) :]):
            groups.append([])
            group_size = 0
        groups[-1].append(part)
        group_size += size
    return groups


def _halves(text: str, count_tokens: CountTokens, limit: int) -> list[str]:
    """Cut a sentence near its middle, and its halves again, until each part has at most `limit` tokens."""
    sentence = text.strip()
    num_parts = -(-count_tokens(sentence) // max(limit, 1))
    if num_parts < 2 or len(sentence) < 2:
        return [text]
    begin, length = text.index(sentence), len(sentence) / num_parts  # of a part
    cut = _best_cut(text, begin + 1, begin + len(sentence) - 1, begin + round(length * (num_parts // 2)), length)
    return [part for half in (text[:cut], text[cut:]) for part in _halves(half, count_tokens, limit)]


def _best_cut(text: str, first: int, last: int, target: int, part_length: float) -> int:
    """Return the index from `first` to `last` for a cut near `target`, given the mean length of a part."""
    for pattern, reach in ((_CLAUSE_END, part_length / 4), (_SPACE_IN_SENTENCE, part_length / 2), (_SPACE, len(text))):
        begin, end = max(first, int(target - reach)), min(last, int(target + reach))
        cuts = (match.end() for match in pattern.finditer(text, max(begin - 1, 0), end))
        best = min((cut for cut in cuts if begin <= cut <= end), key=lambda cut: abs(cut - target), default=None)
        if best is not None:
            return best
    return target
