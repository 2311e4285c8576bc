"""Strings in, strings out: the one way from a sentence to its translation.

Validation, `mtx evaluate` and `mtx translate` all come through here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.search import Hypothesis, SearchOptions, beam_search, greedy_search
from mtx.decode.segments import join_parts, split_long
from mtx.runtime import Precision


@dataclass(frozen=True, slots=True)
class Candidate:
    """One translation of a sentence."""

    tgt: str
    score: float
    """The search's own: log-probability / length ** length_penalty; the mean of it where a line has several parts."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A sentence and its translations, best first; an empty line has one empty translation."""

    src: str
    nbest: tuple[Candidate, ...]
    num_tokens: int
    """Tokens generated for the best one, end symbols included."""

    @property
    def tgt(self) -> str:
        """The best translation."""
        return self.nbest[0].tgt


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of a line that is translated by itself: the whole line, unless that is too long."""

    line: int
    ids: list[int]


class Translator:
    """A model, its tokenizer and how to search, on one device.

    The translation of a line does not depend on the lines beside it.
    """

    def __init__(
        self,
        trained: TrainedModel,
        precision: Precision,
        *,
        beam_size: int,
        length_penalty: float,
        batch_tokens: int,
        n_best: int = 1,
    ) -> None:
        self.trained = trained
        self.precision = precision
        self.batch_tokens = batch_tokens
        decode = trained.generation.decode
        # No beam is wider than what it can choose from.
        width = min(beam_size, trained.tokenizer.tgt_vocab_size)
        self.options = SearchOptions(
            beam_size=width,
            length_penalty=length_penalty,
            max_length_factor=decode.max_length_factor,
            max_length_extra=decode.max_length_extra,
            bos_id=trained.tokenizer.bos_id,
            eos_id=trained.tokenizer.eos_id,
            n_best=min(n_best, width),
        )

    def translate(
        self, lines: Sequence[str], after_batch: Callable[[int], None] = lambda num_segments: None
    ) -> list[Translation]:
        """The translations of `lines`, in their order.

        `after_batch` is called with the size of every batch that is done: for progress, or to stop by raising.
        """
        segments = self._segments(lines)
        hypotheses: dict[int, list[Hypothesis]] = {}
        for batch in self._batches(segments):
            found = self._search([segments[index].ids for index in batch])
            hypotheses |= dict(zip(batch, found, strict=True))
            after_batch(len(batch))
        by_line: list[list[list[Hypothesis]]] = [[] for _ in lines]
        for index, segment in enumerate(segments):
            by_line[segment.line].append(hypotheses[index])
        return [self._translation(line, parts) for line, parts in zip(lines, by_line, strict=True)]

    def _segments(self, lines: Sequence[str]) -> list[_Segment]:
        """What has to be translated; nothing for lines without text."""
        tokenizer, limit = self.trained.tokenizer, self.trained.generation.max_source_tokens - 1
        segments = []
        for line, ids in enumerate(tokenizer.encode_src(lines)):
            if len(ids) > limit:
                parts = split_long(lines[line], lambda text: len(tokenizer.encode_src([text])[0]), limit)
                segments += [_Segment(line, part) for part in tokenizer.encode_src(parts) if part]
            elif ids:
                segments.append(_Segment(line, ids))
        return segments

    def _batches(self, segments: Sequence[_Segment]) -> Iterator[list[int]]:
        """Indices of segments, longest first, so many that beams times padded source tokens stay within bounds."""
        batch: list[int] = []
        for index in sorted(range(len(segments)), key=lambda i: -len(segments[i].ids)):
            longest = len(segments[batch[0] if batch else index].ids) + 1
            if batch and (len(batch) + 1) * longest * self.options.beam_size > self.batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    @torch.inference_mode()
    def _search(self, sentences: list[list[int]]) -> list[list[Hypothesis]]:
        """Search the translations of sentences of about the same length."""
        tokenizer, device = self.trained.tokenizer, self.precision.device
        src = np.full((len(sentences), max(map(len, sentences)) + 1), tokenizer.pad_id)
        for row, ids in enumerate(sentences):
            src[row, : len(ids) + 1] = [*ids, tokenizer.eos_id]
        src_ids = torch.from_numpy(src).to(device)
        search = greedy_search if self.options.beam_size == 1 else beam_search
        with self.precision.autocast():
            return search(self.trained.model, src_ids, src_ids != tokenizer.pad_id, self.options)

    def _translation(self, line: str, parts: list[list[Hypothesis]]) -> Translation:
        """Put the parts of a line together: the n-th best of the whole is made of the n-th best of each part."""
        if not parts:
            return Translation(line, (Candidate("", 0.0),), num_tokens=0)
        candidates = []
        for rank in range(max(map(len, parts))):
            chosen = [part[min(rank, len(part) - 1)] for part in parts]
            texts = self.trained.tokenizer.decode([hypothesis.ids for hypothesis in chosen])
            # The mean falls from rank to rank as the scores of the parts do.
            score = sum(hypothesis.score for hypothesis in chosen) / len(chosen)
            candidates.append(Candidate(join_parts(texts, self.trained.tgt_lang), score))
        num_tokens = sum(len(part[0].ids) + 1 for part in parts)
        return Translation(line, tuple(candidates), num_tokens)
