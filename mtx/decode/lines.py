"""Lines of text: cut into segments that the model can translate, and joined again from their translations."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.text.segments import cut_to_fit, group_sentences, join_translations
from mtx.text.sentences import split_sentences
from mtx.text.tokenizer import without_breaks


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
    ids: list[int]  # Empty if the text is copied, not translated
    num_left_out: int = 0  # Tokens at the end that are not among `ids`


@dataclass(frozen=True, slots=True)
class SegmentTranslation:
    """A segment and its best translation."""

    src: str
    tgt: str
    score: float


@dataclass(frozen=True, slots=True)
class Translation:
    """A line and its translations, best first. A line of white space is its own translation."""

    src: str
    nbest: tuple[Candidate, ...]
    num_tokens: int  # Tokens generated for the best one, end symbols included
    num_left_out: int = 0  # Source tokens that were cut off and not translated
    sentences: tuple[SegmentTranslation, ...] = ()  # The segments of the line
    num_loops: int = 0  # Segments that were searched again because their translation had a loop

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
        segments: list[Segment] = []
        for (line, part), ids in zip(parts, self._encode([part for _, part in parts]), strict=True):
            if self._copies and is_unlettered(part):
                segments.append(Segment(line, part, []))
                continue
            pieces = [part] if len(ids) <= self._limit else self._cut(part)
            encoded = [ids] if len(pieces) == 1 else self._encode(pieces)
            for text, text_ids in zip(pieces, encoded, strict=True):
                if text_ids:
                    num_left_out = max(0, len(text_ids) - self._limit)
                    segments.append(Segment(line, text, self._prefix + text_ids[: self._limit], num_left_out))
        return segments

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
    """Whether `text` has no letter. The signs ª and º of ordinal numbers are no letters."""
    return not any(char.isalpha() and char not in "ªº" for char in text)


def join_segments(
    line: str, parts: Sequence[tuple[Segment, Sequence[Candidate], int]], language: str, num_loops: int = 0
) -> Translation:
    """Join the translations of a line's segments: the n-th best of the line is that of the n-th best of each segment.

    `parts` are the segments with their translations into `language`, best first, and the number of tokens generated for
    the best one.
    """
    if not parts:
        return Translation(line, (Candidate("" if line.strip() else without_breaks(line), 0.0),), num_tokens=0)
    texts, nbest = [segment.text for segment, _, _ in parts], []
    for rank in range(max(len(candidates) for _, candidates, _ in parts)):
        chosen = [candidates[min(rank, len(candidates) - 1)] for _, candidates, _ in parts]
        score = sum(candidate.score for candidate in chosen) / len(chosen)  # falls from rank to rank if theirs do
        nbest.append(Candidate(join_translations(texts, [candidate.tgt for candidate in chosen], language), score))
    return Translation(
        line,
        tuple(nbest),
        num_tokens=sum(count for _, _, count in parts),
        num_left_out=sum(segment.num_left_out for segment, _, _ in parts),
        sentences=tuple(SegmentTranslation(s.text.strip(), best[0].tgt, best[0].score) for s, best, _ in parts),
        num_loops=num_loops,
    )
