"""One measurement of growth: a training step or a translation with random weights and ids, and its FLOPs.

Runs in a process of its own, so that the peak of its memory belongs to this measurement alone.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel
from mtx.checkpoint.training import Progress, TrainState
from mtx.config.decoding import DecodeSettings
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.data.batching import collate
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.decode.translator import Translator
from mtx.distributed.process_group import SINGLE
from mtx.model import Transformer, build_transformer
from mtx.system.device import Precision, choose_device, choose_precision, use_threads
from mtx.system.memory import ONEDNN_KERNELS_DECODING, ONEDNN_KERNELS_TRAINING, configure_malloc, limit_onednn_cache
from mtx.text.tokenizer import Tokenizer
from mtx.train.flops import step_flops
from mtx.train.optim import build_optimizer
from mtx.train.parallel import parallelize
from mtx.train.step import train_step
from scripts.bench.worker import Facts, peak_rss_mib

SIZES = ModelSettings()
PAD, UNK, BOS, EOS = range(4)
ENOUGH_SECONDS = 10
"""Stop repeating once the runs together have taken this many seconds."""


@dataclass(frozen=True, slots=True)
class Point:
    """Job to measure. Every sentence has `length` tokens on either side, end symbol included."""

    job: Literal["train", "translate"]
    sentences: int
    length: int
    vocabulary: int
    beam: int = 1

    @property
    def flops(self) -> int:
        """FLOPs of its matrix products."""
        if self.job == "train":
            tokens = self.sentences * self.length
            return step_flops(SIZES, self.vocabulary, tokens, tokens, self.sentences)
        return self.sentences * translation_flops(SIZES, self.vocabulary, self.length, self.length, self.beam)


def translation_flops(settings: ModelSettings, vocabulary: int, src_length: int, tgt_length: int, beam: int) -> int:
    """Count the FLOPs of one translation: the source once, then `tgt_length` steps of `beam` hypotheses."""
    projection, feed_forward = settings.d_model**2, 2 * settings.d_model * settings.d_ff
    attention = 2 * settings.d_model  # score and weighted sum, for one query and one key
    encoder = settings.encoder_layers * src_length * (4 * projection + feed_forward + attention * src_length)
    memory = settings.decoder_layers * src_length * 2 * projection
    step = settings.decoder_layers * (6 * projection + feed_forward + attention * src_length)
    past = settings.decoder_layers * attention * tgt_length * (tgt_length + 1) // 2
    output = settings.d_model * vocabulary
    return 2 * (encoder + memory + beam * (tgt_length * (step + output) + past))


def measure(point: Point, precision_name: str, repeats: int) -> Facts:
    """Return `seconds` (best of up to `repeats` runs after a warm-up), `mib`, and `mib_beyond_import`.

    Memory is the peak of the largest process: this one, or a worker that shares the model with it.
    """
    use_threads()
    configure_malloc()
    limit_onednn_cache(ONEDNN_KERNELS_TRAINING if point.job == "train" else ONEDNN_KERNELS_DECODING)
    torch.manual_seed(1)
    imported = peak_rss_mib()
    precision = choose_precision(precision_name, choose_device("cpu"))
    model = build_transformer(
        SIZES, src_vocab_size=point.vocabulary, tgt_vocab_size=point.vocabulary, pad_id=PAD, is_joint=True
    )
    ids = np.random.default_rng(1).integers(EOS + 1, point.vocabulary, (2, point.sentences, point.length - 1))
    prepare = _prepare_step if point.job == "train" else _prepare_translation
    run = prepare(point, model, ids.tolist(), precision)
    run()
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < ENOUGH_SECONDS:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    workers = [child.pid for child in multiprocessing.active_children() if child.pid]
    peak = max(map(peak_rss_mib, ["self", *workers]))
    return {"seconds": min(seconds), "mib": peak, "mib_beyond_import": max(peak - imported, 1)}


Sides = Sequence[list[list[int]]]


def _prepare_step(point: Point, model: Transformer, sides: Sides, precision: Precision) -> Callable[[], object]:
    settings, rows = TrainSettings(), np.arange(point.sentences)
    src, tgt = (Ids.from_lists(side) for side in sides)
    batch = collate(Corpus(src, tgt, Lines([rows]), {}, 0, ""), rows, pad_id=PAD, bos_id=BOS, eos_id=EOS)
    initial = TrainState(model.train(), build_optimizer(model, settings), precision.scaler(), Progress())
    state, loss_fn = parallelize(initial, settings, precision.device, SINGLE)
    return lambda: train_step(state, loss_fn, [batch], precision, settings)


def _prepare_translation(point: Point, model: Transformer, sides: Sides, precision: Precision) -> Callable[[], object]:
    # An EOS logit of 0 among thousands of random ones never wins, so each translation runs to its full length.
    model.tgt_input.embedding.weight.data[EOS] = 0.0
    decode = DecodeSettings(max_length_factor=(point.length - 1) / point.length, max_length_extra=1)
    generation = GenerationDefaults(decode=decode, max_source_tokens=point.length)
    tokenizer = cast(Tokenizer, NumberTokenizer(point.vocabulary))
    trained = TrainedModel(model.eval(), tokenizer, "en", "de", generation)
    padded = point.sentences * point.length * point.beam
    options = decode.with_options(beam_size=point.beam, batch_tokens=padded, copy_unlettered=False, avoids_loops=False)
    translator = Translator(trained, options, precision)
    lines = [" ".join(map(str, ids)) for ids in sides[0]]

    def translate() -> None:
        lengths = {translation.num_tokens for translation in translator.translate(lines)}
        if lengths != {point.length}:
            raise RuntimeError(f"translations have {lengths} tokens, expected {point.length}")

    return translate


@dataclass(frozen=True, slots=True)
class NumberTokenizer:
    """Stand-in for a `Tokenizer` of any vocabulary size: words are the ids themselves."""

    vocabulary: int
    pad_id: int = PAD
    unk_id: int = UNK
    bos_id: int = BOS
    eos_id: int = EOS
    is_joint: bool = True

    @property
    def src_vocab_size(self) -> int:
        return self.vocabulary

    @property
    def tgt_vocab_size(self) -> int:
        return self.vocabulary

    @property
    def tgt_byte_ids(self) -> list[int]:
        return []

    def encode_src(self, sentences: Sequence[str]) -> list[list[int]]:
        return [[int(word) for word in sentence.split()] for sentence in sentences]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return [" ".join(map(str, sentence)) for sentence in ids]
