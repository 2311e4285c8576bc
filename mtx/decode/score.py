"""Scores of given translations: the log-probability of their tokens, all tokens of a batch in one forward pass.

Shapes are as in `mtx.decode.search`; B counts pairs, T tokens of a target, N target tokens of a batch, D features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.data.batching import Batch, collate, fixed_batches
from mtx.data.prepared.corpus import Corpus, Ids, Lines, as_small
from mtx.decode.ensemble import average
from mtx.decode.search import OVERFLOW
from mtx.errors import ExitCode, UserError
from mtx.model.fast import for_scoring
from mtx.system.device import Precision, is_out_of_memory
from mtx.text.writing_systems import writes_spaces

ROWS_AT_ONCE = 1024  # Target tokens whose logits are held at a time, 32 MB with a vocabulary of 8,000


@dataclass(frozen=True, slots=True)
class WordScore:
    """A word of a translation and the natural log-probability of its tokens."""

    word: str
    logp: float


@dataclass(frozen=True, slots=True)
class PairScore:
    """A source and its given translation, with the score that a search would give it. Two blank lines get 0."""

    src: str
    tgt: str
    score: float  # logp / num_tokens ** length_penalty
    logp: float  # Natural log-probability of all tokens, the end symbol included
    num_tokens: int  # With the end symbol; 0 for two blank lines
    words: tuple[WordScore, ...]
    end_logp: float  # Natural log-probability of the end symbol; the words' and this one add up to `logp`
    is_long: bool = False  # Whether the source has more tokens than any training source


class Scorer:
    """Models with one vocabulary on one device, which score translations that somebody else has made."""

    def __init__(self, trained: Sequence[TrainedModel], options: DecodeOptions, precision: Precision) -> None:
        """Prepare models, which are averaged if there are several.

        Raises:
            UserError: the model has no such tag (USAGE).
        """
        first = trained[0]
        self._tokenizer, self._options, self._device = first.tokenizer, options, precision.device
        self._limit = min(each.generation.max_source_tokens for each in trained)
        self._prefix = [] if options.tag is None else [first.tokenizer.tag_id(options.tag)]
        self._models = [for_scoring(each.model, precision.dtype) for each in trained]
        surfaces = first.tokenizer.tgt_surfaces()
        self._is_blank = [not surface.strip() for surface in surfaces]
        has_spaces = writes_spaces(first.language_of(options.tag))
        self._begins_word = [surface[:1] == b" " if has_spaces else _begins_char(surface) for surface in surfaces]
        self._begins_word[first.tokenizer.unk_id] = not has_spaces  # its surface, " ⁇ ", is not what the text has

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[PairScore]:
        """Score `pairs` of source and translation, in order. Each is scored whole, however long it is.

        Raises:
            FloatingPointError: the model's numbers overflow.
            UserError: memory can't hold a single pair (MACHINE).
        """
        src, tgt = zip(*pairs, strict=True) if pairs else ((), ())
        src_ids = [self._prefix + ids for ids in self._tokenizer.encode_src([text.strip() for text in src])]
        tgt_ids = self._tokenizer.encode_tgt([text.strip() for text in tgt])
        scored = [number for number, (one, other) in enumerate(pairs) if one.strip() or other.strip()]
        logps: list[list[float]] = [[] for _ in pairs]
        for rows, found in self._token_logps([src_ids[i] for i in scored], [tgt_ids[i] for i in scored]):
            for row, of_pair in zip(rows, found, strict=True):
                logps[scored[row]] = of_pair
        words = self._words(tgt_ids, logps)
        return [
            self._result(pair, of_pair, of_words, is_long=len(ids) + 1 > self._limit)
            for pair, of_pair, of_words, ids in zip(pairs, logps, words, src_ids, strict=True)
        ]

    def _result(
        self, pair: tuple[str, str], logps: list[float], words: tuple[WordScore, ...], *, is_long: bool
    ) -> PairScore:
        if not logps:
            return PairScore(*pair, 0.0, 0.0, 0, (), 0.0)
        logp = sum(logps)
        score = logp / len(logps) ** self._options.length_penalty
        return PairScore(*pair, score, logp, len(logps), words, logps[-1], is_long)

    def _token_logps(self, src: list[list[int]], tgt: list[list[int]]) -> Iterator[tuple[list[int], list[list[float]]]]:
        """Yield the rows of batches, and the log-probabilities of each row's target tokens and end symbol."""
        if not src:
            return
        corpus = Corpus(Ids.from_lists(src), Ids.from_lists(tgt), Lines([as_small(np.arange(len(src)))]), {}, 0, "")
        special = {name: getattr(self._tokenizer, name) for name in ("pad_id", "bos_id", "eos_id")}
        lengths = corpus.src.lengths, corpus.tgt.lengths
        longest = 1 + max(int(side.max()) for side in lengths)
        for rows in fixed_batches(*lengths, batch_tokens=max(self._options.batch_tokens, longest)):
            for batch, found in self._within_memory(collate(corpus, rows, **special)):
                if not found.isfinite().all():
                    raise FloatingPointError(OVERFLOW)
                sizes = (corpus.tgt.lengths_of(batch.rows) + 1).tolist()
                yield batch.rows.tolist(), [each.tolist() for each in torch.split(found, sizes)]

    def _within_memory(self, batch: Batch) -> Iterator[tuple[Batch, Tensor]]:
        """Yield `batch` with the log-probabilities of its target tokens, or its parts if it is too large for memory."""
        try:
            found = self._batch_logps(batch.to(self._device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch.rows) == 1:
                what = f"out of memory for one pair of {batch.num_src_tokens} and {batch.num_tokens} tokens"
                raise UserError(ExitCode.MACHINE, what, do="Free memory, or shorten the line.") from error
        else:
            yield batch, found
            return
        for half in batch.halves():  # outside the handler: the error keeps all tensors alive
            yield from self._within_memory(half)

    @torch.inference_mode()
    def _batch_logps(self, batch: Batch) -> Tensor:
        """The log-probabilities of the real target tokens, row by row. Shapes: (N,)."""
        hidden = []
        for model in self._models:
            hidden_BTD = model.decode(batch.tgt_in, model.encode(batch.src_ids, batch.src_mask), batch.src_mask)
            hidden.append(hidden_BTD.flatten(0, 1).index_select(0, batch.target_positions))
        tgt_N = batch.tgt_out.flatten().index_select(0, batch.target_positions)
        found = []
        for rows in torch.split(torch.arange(len(tgt_N), device=tgt_N.device), ROWS_AT_ONCE):
            logits = [model.output(hidden_ND[rows]) for model, hidden_ND in zip(self._models, hidden, strict=True)]
            logp_RV = average(logits, self._options.ensemble).log_softmax(dim=-1)
            found.append(logp_RV.gather(1, tgt_N[rows, None])[:, 0])
        return torch.cat(found).cpu()

    def _words(self, ids: list[list[int]], logps: list[list[float]]) -> list[tuple[WordScore, ...]]:
        """The words of each target: its tokens up to the next that begins a word, without the end symbol."""
        groups = [self._grouped(each) for each in ids]
        texts = iter(self._tokenizer.decode([of_word for of_target in groups for of_word in of_target]))
        found = []
        for of_target, of_tokens in zip(groups, logps, strict=True):
            rest = iter(of_tokens)
            found.append(tuple(WordScore(next(texts).strip(), sum(next(rest) for _ in word)) for word in of_target))
        return found

    def _grouped(self, ids: list[int]) -> list[list[int]]:
        words: list[list[int]] = []
        for id_ in ids:
            if not words or (self._begins_word[id_] and not all(self._is_blank[other] for other in words[-1])):
                words.append([])
            words[-1].append(id_)
        return words


def _begins_char(surface: bytes) -> bool:
    return not 0x80 <= surface[:1].ljust(1)[0] < 0xC0
