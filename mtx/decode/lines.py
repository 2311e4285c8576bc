"""Lines on their way through a translator: cut into segments that the model can translate, and put together again."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.settings import DecodeOptions
from mtx.text.segments import cut_to_fit, group_sentences, join_translations
from mtx.text.sentences import split_sentences
from mtx.text.tokenizer import in_one_line


@dataclass(frozen=True, slots=True)
class Candidate:
    """One translation of a line or a segment."""

    tgt: str
    score: float  # Mean over the segments of a line; NaN without scores


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a line that is translated by itself, or the whole line."""

    line: int  # Index of the line
    text: str  # With the white space around it
    ids: list[int]  # None of a text that is copied as it is
    num_left_out: int = 0  # Tokens at the end that are not among `ids`


@dataclass(frozen=True, slots=True)
class SegmentTranslation:
    """A segment and its best translation."""

    src: str
    tgt: str
    score: float


@dataclass(frozen=True, slots=True)
class Translation:
    """A line and its translations, best first; of a line without text, its white space."""

    src: str
    nbest: tuple[Candidate, ...]
    num_tokens: int  # Tokens generated for the best one, end symbols included
    num_left_out: int = 0  # Source tokens that were not translated, where what is too long is cut off
    sentences: tuple[SegmentTranslation, ...] = ()  # Segments of the line with their best translations
    num_loops: int = 0  # Segments whose translation repeated itself, and was searched again

    @property
    def tgt(self) -> str:
        """The best translation."""
        return self.nbest[0].tgt


class Segmenter:
    """Cuts lines into segments as a model's training and the options of a command ask for."""

    def __init__(self, trained: TrainedModel, options: DecodeOptions) -> None:
        """Prepare for lines in the source language of `trained`.

        Raises:
            UserError: the model has no such tag (USAGE).
        """
        self._tokenizer, self._language = trained.tokenizer, trained.src_lang
        self._prefix = [] if options.tag is None else [self._tokenizer.tag_id(options.tag)]
        self._limit = trained.generation.max_source_tokens - 1 - len(self._prefix)
        self._max_sentences = trained.generation.max_sentences if options.split == "auto" else 1
        self._splits, self._splits_long = options.split != "never", options.splits_long
        self._copies = options.copy_unlettered

    def segments(self, lines: Sequence[str]) -> list[Segment]:
        """Return the segments of all lines, in order; a line without text has none."""
        parts = [(line, part) for line, text in enumerate(lines) if text.strip() for part in self._split(text)]
        found: list[Segment] = []
        for (line, part), ids in zip(parts, self._encode([part for _, part in parts]), strict=True):
            if self._copies and is_unlettered(part):
                found.append(Segment(line, part, []))
                continue
            cut = [part] if len(ids) <= self._limit else self._cut(part)
            for text, of_text in [(part, ids)] if len(cut) == 1 else zip(cut, self._encode(cut), strict=True):
                if of_text:
                    left_out = max(0, len(of_text) - self._limit)
                    found.append(Segment(line, text, self._prefix + of_text[: self._limit], left_out))
        return found

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self._tokenizer.encode_src([text.strip() for text in texts])

    def _split(self, line: str) -> list[str]:
        if not self._splits:
            return [line]
        return group_sentences(split_sentences(line, self._language), self._max_sentences)

    def _cut(self, part: str) -> list[str]:
        """Cut a part that has too many tokens."""
        if self._splits_long:
            return cut_to_fit(part, self._language, lambda text: len(self._encode([text])[0]), self._limit)
        return split_sentences(part, self._language) if self._splits else [part]


def is_unlettered(text: str) -> bool:
    """Whether `text` has no letter. The ordinal signs of 1ª and 2º count as none."""
    return not any(char.isalpha() and char not in "ªº" for char in text)


def translate_line(
    line: str, parts: Sequence[tuple[Segment, Sequence[Candidate], int]], language: str, num_loops: int = 0
) -> Translation:
    """The translation of a line into `language`, whose n-th best is made of the n-th best of each segment.

    `parts` are its segments with their translations, best first, and the tokens generated for the best one.
    """
    if not parts:
        return Translation(line, (Candidate("" if line.strip() else in_one_line(line), 0.0),), num_tokens=0)
    texts, nbest = [segment.text for segment, _, _ in parts], []
    for rank in range(max(len(candidates) for _, candidates, _ in parts)):
        chosen = [candidates[min(rank, len(candidates) - 1)] for _, candidates, _ in parts]
        score = sum(candidate.score for candidate in chosen) / len(chosen)  # falls from rank to rank as theirs do
        nbest.append(Candidate(join_translations(texts, [candidate.tgt for candidate in chosen], language), score))
    return Translation(
        line,
        tuple(nbest),
        num_tokens=sum(count for _, _, count in parts),
        num_left_out=sum(segment.num_left_out for segment, _, _ in parts),
        sentences=tuple(SegmentTranslation(s.text.strip(), best[0].tgt, best[0].score) for s, best, _ in parts),
        num_loops=num_loops,
    )
