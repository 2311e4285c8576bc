"""Strings in, strings out: the one way from a sentence to its translation.

Validation, `mtx evaluate` and `mtx translate` all come through here.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.memory import Sentences, SentenceTooLargeError, search_within_memory
from mtx.decode.search import Hypothesis, SearchOptions, beam_search, greedy_search
from mtx.errors import ExitCode, UserError
from mtx.model.fast import for_decoding
from mtx.system.device import Precision
from mtx.system.memory import prepare_forked_process, trim_malloc
from mtx.system.parallel import can_fork, map_as_completed, start_workers
from mtx.text.segments import join_parts, split_long

ROWS_FOR_A_WORKER = 64
"""Hypotheses searched at once from which a process of its own pays: with fewer a step takes hardly less time."""


MIN_TOKENS = 16
"""What a sentence counts as in a batch if it is shorter: the logits of its next token take as much memory."""

BATCHES_BETWEEN_TRIMS = 64
"""Batches after which freed memory is given back: after each, mapping it anew takes a tenth of the time."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One translation of a sentence."""

    tgt: str
    score: float
    """The search's own: log-probability / length ** length_penalty; the mean of it where a line has several parts.

    Not a number where a translator was asked for none and needed none."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A sentence and its translations, best first; an empty line has one empty translation."""

    src: str
    nbest: tuple[Candidate, ...]
    num_tokens: int
    """Tokens generated for the best one, end symbols included."""
    num_left_out: int = 0
    """Tokens at the end of the sentence that were not translated; 0 unless a translator cuts long lines off."""

    @property
    def tgt(self) -> str:
        """The best translation."""
        return self.nbest[0].tgt


@dataclass(frozen=True, slots=True)
class _Segment:
    """A part of a line that is translated by itself: the whole line, unless that is too long."""

    line: int
    ids: list[int]
    num_left_out: int = 0
    """Tokens of the line after these that are in no segment."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What became of a segment."""

    candidates: list[Candidate]
    num_tokens: int
    num_left_out: int


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
        with_scores: bool = True,
        splits_long: bool = True,
        tag: str | None = None,
    ) -> None:
        """`splits_long`: whether lines longer than any that the model has seen are translated in parts, or cut off.

        `tag` is put before each source, such as 2de where a model knows several languages.

        Raises:
            UserError: the model has no such tag (USAGE).
        """
        self.trained = trained
        self.model = for_decoding(trained.model, precision.dtype)
        self.device = precision.device
        self.batch_tokens = batch_tokens
        is_shared_out = precision.device.type == "cpu" and can_fork()
        self.num_workers = torch.get_num_threads() if is_shared_out else 1
        self._workers: ProcessPoolExecutor | None = None
        self._num_batches = 0  # searched by this process
        self.splits_long = splits_long
        self._prefix = [] if tag is None else [trained.tokenizer.tag_id(tag)]
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
            with_scores=with_scores,
        )

    def translate(
        self, lines: Sequence[str], after_batch: Callable[[int], None] = lambda num_segments: None
    ) -> list[Translation]:
        """The translations of `lines`, in their order.

        `after_batch` is called with the size of every batch that is done: for progress, or to stop by raising.

        Raises:
            FloatingPointError: the model's numbers overflow.
            UserError: there is no memory for one of the sentences by itself (MACHINE).
        """
        segments = self._segments(lines)
        hypotheses: dict[int, list[Hypothesis]] = {}
        with _too_large_explained(lines, segments):
            for batch, found in self._search_all(segments):
                hypotheses |= dict(zip(batch, found, strict=True))
                after_batch(len(batch))
        by_line: list[list[_Part]] = [[] for _ in lines]
        parts = self._parts(segments, [hypotheses[i] for i in range(len(segments))])
        for segment, part in zip(segments, parts, strict=True):
            by_line[segment.line].append(part)
        return [self._translation(line, parts) for line, parts in zip(lines, by_line, strict=True)]

    def close(self) -> None:
        """End the processes that were started for this translator, if any."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)
            self._workers = None

    def _segments(self, lines: Sequence[str]) -> list[_Segment]:
        """What has to be translated; nothing for lines without text."""
        tokenizer, prefix = self.trained.tokenizer, self._prefix
        limit = self.trained.generation.max_source_tokens - 1 - len(prefix)
        segments = []
        for line, ids in enumerate(tokenizer.encode_src(lines)):
            if not lines[line].strip():
                continue  # some tokenizers have pieces for white space
            if len(ids) > limit and self.splits_long:
                parts = split_long(lines[line], lambda text: len(tokenizer.encode_src([text])[0]), limit)
                segments += [_Segment(line, prefix + part) for part in tokenizer.encode_src(parts) if part]
            elif ids:
                segments.append(_Segment(line, prefix + ids[:limit], num_left_out=max(0, len(ids) - limit)))
        return segments

    def _search_all(self, segments: Sequence[_Segment]) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
        """Batches of segments, by their indices, and what the search found for them, in any order."""
        batches = self._batches(segments)
        sentences = [[segments[index].ids for index in batch] for batch in batches]
        if len(batches) < 2 or self.num_workers == 1:
            for batch, ids in zip(batches, sentences, strict=True):
                yield batch, self._search(ids)
            return
        if self._workers is None:
            self._workers = start_workers(self.num_workers, self._search, prepare_forked_process)
        for number, found in map_as_completed(self._workers, sentences):
            yield batches[number], found

    def _batches(self, segments: Sequence[_Segment]) -> list[list[int]]:
        """Indices of segments, longest first, so many that beams times padded source tokens stay within bounds."""
        width = self.options.beam_size
        sizes = [max(len(segment.ids) + 1, MIN_TOKENS) * width for segment in segments]
        work = [_work(len(segment.ids) + 1) for segment in segments]
        # As much for each worker: large batches, whose products of matrices are faster for each row.
        num_parts = max(1, min(self.num_workers, len(sizes) * width // ROWS_FOR_A_WORKER))
        for_each, done = sum(work) / num_parts, 0.0
        batches: list[list[int]] = []
        part = longest = 0
        for index in sorted(range(len(sizes)), key=lambda i: -len(segments[i].ids)):
            is_next_part = done >= (part + 1) * for_each
            if not batches or is_next_part or (len(batches[-1]) + 1) * longest > self.batch_tokens:
                batches.append([])
                longest = sizes[index]
            part += is_next_part
            batches[-1].append(index)
            done += work[index]
        return batches

    def _search(self, sentences: Sentences) -> list[list[Hypothesis]]:
        """Search the translations of sentences of about the same length, all at once if memory allows."""
        found = search_within_memory(self._search_at_once, sentences)
        self._num_batches += 1
        if self._num_batches % BATCHES_BETWEEN_TRIMS == 0:
            trim_malloc()
        return found

    @torch.inference_mode()
    def _search_at_once(self, sentences: Sentences) -> list[list[Hypothesis]]:
        tokenizer = self.trained.tokenizer
        src = np.full((len(sentences), max(map(len, sentences)) + 1), tokenizer.pad_id)
        for row, ids in enumerate(sentences):
            src[row, : len(ids) + 1] = [*ids, tokenizer.eos_id]
        src_ids = torch.from_numpy(src).to(self.device)
        search = greedy_search if self.options.beam_size == 1 else beam_search
        return search(self.model, src_ids, src_ids != tokenizer.pad_id, self.options)

    def _parts(self, segments: Sequence[_Segment], hypotheses: Sequence[list[Hypothesis]]) -> list[_Part]:
        """What the search found, in text; all at once: 1.4 ms for 1,000 sentences, one by one 51."""
        texts = iter(self.trained.tokenizer.decode([h.ids for found in hypotheses for h in found]))
        return [
            _Part([Candidate(next(texts), h.score) for h in found], len(found[0].ids) + 1, segment.num_left_out)
            for segment, found in zip(segments, hypotheses, strict=True)
        ]

    def _translation(self, line: str, parts: list[_Part]) -> Translation:
        """Put the parts of a line together: the n-th best of the whole is made of the n-th best of each part."""
        if not parts:
            return Translation(line, (Candidate("", 0.0),), num_tokens=0)
        candidates = []
        for rank in range(max(len(part.candidates) for part in parts)):
            chosen = [part.candidates[min(rank, len(part.candidates) - 1)] for part in parts]
            # The mean falls from rank to rank as the scores of the parts do.
            score = sum(candidate.score for candidate in chosen) / len(chosen)
            candidates.append(Candidate(join_parts([c.tgt for c in chosen], self.trained.tgt_lang), score))
        num_tokens, num_left_out = sum(part.num_tokens for part in parts), sum(part.num_left_out for part in parts)
        return Translation(line, tuple(candidates), num_tokens, num_left_out)


@contextmanager
def _too_large_explained(lines: Sequence[str], segments: Sequence[_Segment]) -> Iterator[None]:
    """Inside, a sentence that there is no memory for becomes one line for the user."""
    try:
        yield
    except SentenceTooLargeError as error:
        line = next(lines[segment.line] for segment in segments if segment.ids == error.ids)
        what, where = f"out of memory for one sentence of {len(error.ids) + 1} tokens", f"{line.strip()[:40]}…"
        raise UserError(ExitCode.MACHINE, what, where=where, do="Free memory, or lower --beam.") from error


def _work(num_tokens: int) -> float:
    """What a sentence of so many tokens costs, in proportion: more for a token the more of them there are.

    Attention looks at all of them, and a batch takes as many steps as its longest translation. Fitted to greedy search
    for Multi30k, where as many tokens of the longer sentences took 1.25 to 1.45 times as long as of the shorter ones.
    """
    return num_tokens * (1 + num_tokens / 12)
