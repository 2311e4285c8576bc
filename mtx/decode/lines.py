"""Lines of text: cut into segments that the model can translate, and joined again from their translations."""

from collections.abc import Sequence
from dataclasses import dataclass

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.decode.loops import Surfaces
from mtx.decode.prefix import Prefix
from mtx.text.segments import cut_to_fit, group_sentences, join_translations
from mtx.text.sentences import split_sentences
from mtx.text.tokenizer import without_breaks


@dataclass(frozen=True, slots=True)
class Candidate:
    """One translation of a line or a segment."""

    tgt: str
    score: float  # Mean over the segments of a line; NaN without scores
    num_tokens: int = 0  # End symbol included; counted for segments only, and 0 for a copy


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a line that is translated by itself, or the whole line."""

    line: int  # Index of the line
    text: str  # With the white space around it
    ids: list[int]  # Empty if the text is copied, not translated
    num_left_out: int = 0  # Tokens at the end that are not among `ids`
    prefix: Prefix | None = None  # Beginning of its translation

    @property
    def given(self) -> str:
        """All text that is given for the translation, as an explanation of what is odd in it."""
        return self.text if self.prefix is None else f"{self.text} {self.prefix.text}"


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
    parts: tuple[tuple[str, Sequence[Candidate]], ...] = ()  # Text and translations of each segment, best first

    @property
    def tgt(self) -> str:
        """The best translation."""
        return self.nbest[0].tgt


class Segmenter:
    """Cuts lines into segments as a model's training and the options of a command ask for."""

    def __init__(self, trained: TrainedModel, options: DecodeOptions) -> None:
        """Prepare for lines in the source language of `trained`.

        Raises:
            UserError: the model has no such tag (USAGE), or no translation can begin with the prefix (DATA).
        """
        self._tokenizer, self._language = trained.tokenizer, trained.src_lang
        self._tag_ids = [] if options.tag is None else [self._tokenizer.tag_id(options.tag)]
        self._limit = trained.generation.max_source_tokens - 1 - len(self._tag_ids)
        self._surfaces: Surfaces | None = None  # of the vocabulary, from the first prefix on
        self._max_sentences = trained.generation.max_sentences if options.split == "auto" else 1
        self._splits, self._splits_long = options.split != "never", options.splits_long
        self._copies = options.copy_unlettered
        self._prefixes_of([options.prefix])

    def segments(self, lines: Sequence[str], prefixes: Sequence[str] = ()) -> list[Segment]:
        """Return the segments of all lines, in order; a line without text has none.

        The translation of each line's first segment begins with the line's prefix, if there are any.

        Raises:
            UserError: no translation can begin with a prefix (DATA).
        """
        left = self._prefixes_of(prefixes)
        texts = [text.lstrip() if line in left else text for line, text in enumerate(lines)]
        parts = [(line, part) for line, text in enumerate(texts) if text.strip() for part in self._split(text)]
        segments: list[Segment] = []
        for (line, part), ids in zip(parts, self._encode([part for _, part in parts]), strict=True):
            if self._copies and is_unlettered(part) and line not in left:
                segments.append(Segment(line, part, []))
                continue
            pieces = [part] if len(ids) <= self._limit else self._cut(part)
            encoded = [ids] if len(pieces) == 1 else self._encode(pieces)
            for text, text_ids in zip(pieces, encoded, strict=True):
                if text_ids:
                    num_left_out = max(0, len(text_ids) - self._limit)
                    own_ids = self._tag_ids + text_ids[: self._limit]
                    segments.append(Segment(line, text, own_ids, num_left_out, left.pop(line, None)))
        return segments

    def prefix_of(self, text: str, where: str = "") -> Prefix:
        """The prefix `text`; errors name `where` it is.

        Raises:
            UserError: no translation can begin with it (DATA).
        """
        self._surfaces = self._surfaces or Surfaces(self._tokenizer.tgt_surfaces())
        return Prefix.of(text, self._tokenizer, self._surfaces, self._limit, where)

    def _prefixes_of(self, texts: Sequence[str]) -> dict[int, Prefix]:
        """The prefixes by line, of lines that have one."""
        different = {text: self.prefix_of(text) for text in dict.fromkeys(texts) if text}
        return {line: different[text] for line, text in enumerate(texts) if text}

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
    line: str,
    parts: Sequence[tuple[Segment, Sequence[Candidate], int]],
    language: str,
    num_loops: int = 0,
    prefix: str = "",
) -> Translation:
    """Join the translations of a line's segments: the n-th best of the line is that of the n-th best of each segment.

    The translation of a line without text is its `prefix`, or else the line.

    `parts` are the segments with their translations into `language`, best first, and the number of tokens generated for
    the best one.
    """
    if not parts:
        tgt = prefix or ("" if line.strip() else without_breaks(line))
        return Translation(line, (Candidate(tgt, 0.0),), num_tokens=0)
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
        parts=tuple((segment.text, candidates) for segment, candidates, _ in parts),
    )
