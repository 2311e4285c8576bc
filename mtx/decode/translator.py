"""Strings in, strings out: the way from a sentence to its translation in validation, `evaluate` and `translate`."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.decode.beam import beam_search
from mtx.decode.constraints import WholeCharacters, constraints_of
from mtx.decode.ensemble import Ensemble
from mtx.decode.lines import Candidate, Segment, Segmenter, Translation, join_segments
from mtx.decode.loops import Loops, NoLoops, Surfaces, loops_in
from mtx.decode.mbr import rank_by_utility
from mtx.decode.prefix import Prefixes
from mtx.decode.sampling import sample_search
from mtx.decode.search import Constraint, Hypothesis, Rules, StepModel, greedy_search
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.model.fast import for_decoding
from mtx.model.fast.coverage import CoverageDecoder
from mtx.system.device import Precision, is_out_of_memory
from mtx.system.memory import prepare_forked_process, trim_malloc
from mtx.system.parallel import can_fork, map_as_completed, start_workers
from mtx.text.tokenizer import without_breaks

Found = list[list[Hypothesis]]  # For each sentence its hypotheses, best first
T = TypeVar("T")

MIN_ROWS_PER_WORKER = 64  # Fewest hypotheses for which another process pays: with fewer a step takes hardly less time
MIN_TOKENS = 16  # Tokens that a shorter sentence counts in a batch: the logits of its next token take as much memory
BATCHES_BETWEEN_TRIMS = 64  # Batches after which freed memory is given back: it would take a tenth of one's time


class Translator:
    """A model and its tokenizer on one device. The translation of a line does not depend on the lines beside it."""

    def __init__(
        self,
        trained: TrainedModel,
        options: DecodeOptions,
        precision: Precision,
        others: Sequence[Transformer] = (),
    ) -> None:
        """Prepare the model for decoding, together with `others` of the same vocabulary.

        Raises:
            UserError: the model has no such tag (USAGE).
        """
        self.trained = trained
        # A beam cannot be wider than the vocabulary it chooses from.
        width = min(max(options.beam_size, options.mbr), trained.tokenizer.tgt_vocab_size)
        num_groups = min(options.beam_groups, width)
        width -= width % num_groups
        self.num_wanted = min(options.n_best, width)  # Translations of a segment, of which the search may find more
        num_found = min(options.mbr or options.n_best, width)
        found = {"beam_size": width, "n_best": num_found, "samples": options.mbr or options.samples}
        found["beam_groups"] = num_groups
        if options.repetition_penalty > 1:  # which multiplies log-probabilities, not any numbers of the same order
            found["with_scores"] = True
        self.options = options.model_copy(update=found)
        models: list[Any] = [for_decoding(each, precision.dtype) for each in (trained.model, *others)]
        if options.coverage_penalty:
            models = [CoverageDecoder(each) for each in models]
        self.model: StepModel[Any] = models[0] if not others else Ensemble(models, options.ensemble)
        self.device = precision.device
        self.num_workers = torch.get_num_threads() if precision.device.type == "cpu" and can_fork() else 1
        self._workers: ProcessPoolExecutor | None = None
        self._num_batches = 0  # searched by this process
        self._whole_characters = WholeCharacters.of(trained.tokenizer, precision.device)
        self._surfaces: Surfaces | None = None  # of the vocabulary, from the first loop on
        self.set_tag(options.tag)

    def set_tag(self, tag: str | None) -> None:
        """Put `tag` before each sentence, and translate into its language, from now on.

        Raises:
            UserError: the model has no such tag (USAGE).
        """
        self.options = self.options.model_copy(update={"tag": tag})
        self.tgt_lang = self.trained.language_of(tag)
        self.segmenter = Segmenter(self.trained, self.options)

    def translate(
        self,
        lines: Sequence[str],
        after_batch: Callable[[int], None] = lambda num_segments: None,
        prefixes: Sequence[str | None] = (),
    ) -> list[Translation]:
        """Translate `lines`, in order. Each begins with one of `prefixes`, if given, or else with that of the options.

        `after_batch` is called with the size of every batch that is done: for progress, or to stop by raising.

        Raises:
            FloatingPointError: the model's numbers overflow.
            UserError: memory can't hold the search for a single sentence (MACHINE), or no translation can begin with a
                prefix (DATA).
        """
        own_prefixes = [self.options.prefix if each is None else each for each in prefixes or [None] * len(lines)]
        segments = self.segmenter.segments(lines, own_prefixes)
        searched = [segment for segment in segments if segment.ids]
        hypotheses: Found = [[] for _ in searched]
        try:
            for batch, found in self._search_all(searched):
                for index, of_segment in zip(batch, found, strict=True):
                    hypotheses[index] = of_segment
                after_batch(len(batch))
            texts, looping = self._texts(searched, hypotheses)
        except SentenceTooLargeError as error:
            segment = error.args[0]
            where = f"{lines[segment.line].strip()[:40]}…"
            what = f"out of memory for one sentence of {len(segment.ids) + 1} tokens"
            raise UserError(
                ExitCode.MACHINE, what, where=where, do="Free memory, or lower --beam or --samples."
            ) from error
        results = zip(hypotheses, texts, strict=True)
        parts: list[list[tuple[Segment, list[Candidate], int]]] = [[] for _ in lines]
        for segment in segments:
            if segment.ids:
                of_segment, decoded = next(results)
                nbest = [Candidate(text, h.score, len(h.ids) + 1) for text, h in zip(decoded, of_segment, strict=True)]
                parts[segment.line].append((segment, nbest, len(of_segment[0].ids) + 1))
            else:
                parts[segment.line].append((segment, [Candidate(without_breaks(segment.text.strip()), 0.0)], 0))
        num_loops = Counter(segment.line for segment in looping)
        return [
            join_segments(line, of_line, self.tgt_lang, num_loops[number], prefix)
            for number, (line, of_line, prefix) in enumerate(zip(lines, parts, own_prefixes, strict=True))
        ]

    def close(self) -> None:
        """End the worker processes of this translator, if any were started."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)
            self._workers = None

    def _texts(self, segments: Sequence[Segment], hypotheses: Found) -> tuple[list[list[str]], list[Segment]]:
        """Return the texts of `hypotheses`, and the segments with a loop, whose hypotheses a new search replaces."""
        texts = self._decode(segments, hypotheses)
        if not self.options.avoids_loops:
            return texts, []
        each = zip(segments, hypotheses, texts, strict=True)
        found = [loops_in(segment.given, of_segment, decoded) for segment, of_segment, decoded in each]
        loops = {index: of_segment for index, of_segment in enumerate(found) if of_segment is not None}
        indices = list(loops)
        looping = [segments[index] for index in indices]
        search = partial(self._search_at_once, loops={segments[i].given: loops[i] for i in indices})
        again: Found = [[] for _ in looping]
        for batch in self._batches(looping):
            of_batch = search_within_memory(search, [looping[number] for number in batch])
            for number, of_segment in zip(batch, of_batch, strict=True):
                again[number] = of_segment
        for index, decoded, of_segment in zip(indices, self._decode(looping, again), again, strict=True):
            texts[index], hypotheses[index] = [loops[index].cut(text) for text in decoded], of_segment
        return texts, looping

    def _decode(self, segments: Sequence[Segment], hypotheses: Found) -> list[list[str]]:
        """Return the texts of `hypotheses`, which minimum Bayes risk reduces to those wanted, in its order."""
        ids = [h.ids for of_segment in hypotheses for h in of_segment]
        if self._whole_characters is not None:
            ids = [self._whole_characters.finished(each) for each in ids]
        texts = iter(self.trained.tokenizer.decode(ids))  # in one call: for 1,000 sentences 1.4 ms instead of 51
        each = zip(segments, hypotheses, strict=True)
        decoded = [[_readable(segment, next(texts)) for _ in of_segment] for segment, of_segment in each]
        if self.options.mbr:
            for number, of_segment in enumerate(decoded):
                ranks = rank_by_utility(of_segment)[: self.num_wanted]
                decoded[number] = [of_segment[rank] for rank in ranks]
                hypotheses[number] = [hypotheses[number][rank] for rank in ranks]
        return decoded

    def _search_all(self, segments: Sequence[Segment]) -> Iterator[tuple[list[int], Found]]:
        """Search in batches; yields indices of segments and their hypotheses, in any order."""
        batches = self._batches(segments)
        searched = [[segments[index] for index in batch] for batch in batches]
        if len(batches) < 2 or self.num_workers == 1:
            for batch, of_batch in zip(batches, searched, strict=True):
                yield batch, self._search(of_batch)
            return
        if self._workers is None:
            self._workers = start_workers(self.num_workers, self._search, prepare_forked_process)
        for number, found in map_as_completed(self._workers, searched):
            yield batches[number], found

    def _batches(self, segments: Sequence[Segment]) -> list[list[int]]:
        """Indices of segments, longest first. Rows per sentence * padded source tokens stay within `batch_tokens`."""
        width, lengths = self.options.width, [len(segment.ids) + 1 for segment in segments]
        # Large batches of equal work for all workers.
        num_parts = max(1, min(self.num_workers, len(segments) * width // MIN_ROWS_PER_WORKER))
        tokens_per_part, num_tokens = sum(lengths) / num_parts, 0
        batches: list[list[int]] = []
        part = row_size = 0
        for index in sorted(range(len(segments)), key=lambda i: -lengths[i]):
            is_next_part = num_tokens >= (part + 1) * tokens_per_part
            if not batches or is_next_part or (len(batches[-1]) + 1) * row_size > self.options.batch_tokens:
                batches.append([])
                row_size = max(lengths[index], MIN_TOKENS) * width
            part += is_next_part
            batches[-1].append(index)
            num_tokens += lengths[index]
        return batches

    def _search(self, segments: Sequence[Segment]) -> Found:
        """Search for translations of segments of similar length, all at once if memory allows."""
        found = search_within_memory(self._search_at_once, segments)
        self._num_batches += 1
        if self._num_batches % BATCHES_BETWEEN_TRIMS == 0:
            trim_malloc()
        return found

    @torch.inference_mode()
    def _search_at_once(self, segments: Sequence[Segment], loops: Mapping[str, Loops] | None = None) -> Found:
        """Search for translations; with `loops`, for some that have none but those, by the text that is given."""
        tokenizer, options = self.trained.tokenizer, self.options
        constraints: list[Constraint] = [] if self._whole_characters is None else [self._whole_characters]
        if loops is not None:
            self._surfaces = self._surfaces or Surfaces(tokenizer.tgt_surfaces())
            constraints.append(NoLoops(self._surfaces, [loops[segment.given] for segment in segments]))
        constraints += constraints_of(options, tokenizer.eos_id)
        prefixes, room = [segment.prefix for segment in segments], []
        if any(prefixes):
            constraints = [Prefixes(prefixes, constraints)]
            room = [0 if prefix is None else prefix.max_tokens for prefix in prefixes]
        rows = [torch.tensor([*segment.ids, tokenizer.eos_id]) for segment in segments]
        src_ids = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_id).to(self.device)
        src_mask = src_ids != tokenizer.pad_id
        rules = Rules(bos_id=tokenizer.bos_id, eos_id=tokenizer.eos_id, constraints=constraints, room=room)
        if options.sample:
            return sample_search(self.model, src_ids, src_mask, options, **rules)
        # Only beam search knows the coverage; with one hypothesis it finds the same.
        search = greedy_search if options.beam_size == 1 and not options.coverage_penalty else beam_search
        return search(self.model, src_ids, src_mask, options, **rules)


def _readable(segment: Segment, tgt: str) -> str:
    """`tgt` without U+FFFD, the mark of unreadable text, unless the segment has it too, and with its whole prefix."""
    tgt = tgt if "\ufffd" not in tgt or "\ufffd" in segment.given else tgt.replace("\ufffd", "")
    if segment.prefix is not None and segment.prefix.text.startswith(tgt):
        return segment.prefix.text  # whose spaces at the end the tokenizer has removed
    return tgt


class SentenceTooLargeError(Exception):
    """Memory can't hold the search for a single sentence; the only argument is its segment."""


def search_within_memory(search: Callable[[Sequence[T]], Found], sentences: Sequence[T]) -> Found:
    """Search for all `sentences` at once, or for half of them at a time if memory can't hold all.

    Raises:
        SentenceTooLargeError: memory can't hold a single one of them.
    """
    try:
        return search(sentences)
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        if len(sentences) == 1:
            raise SentenceTooLargeError(sentences[0]) from error
    # Outside the handler: the error keeps all tensors of the failed search alive.
    middle = len(sentences) // 2
    return [found for half in (sentences[:middle], sentences[middle:]) for found in search_within_memory(search, half)]
