"""The pairs that choose the best checkpoint."""

from dataclasses import dataclass
from itertools import islice

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.settings import CleanSettings, Config
from mtx.config.sources import Source
from mtx.data.batching import fixed_batches
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.ids import Rows
from mtx.data.prepared.prepare import prepare
from mtx.data.sources.read import is_same_text, read_pairs
from mtx.evaluate import bleu_metric
from mtx.system.logs import LOGGER

AS_IT_IS = CleanSettings(level="none")
"""Dev pairs are what is measured with: no rule drops one."""


@dataclass(frozen=True, slots=True)
class DevSet:
    """A dev set as ids, for its loss, and the first of its pairs as text, for decoding."""

    source: Source
    corpus: Corpus
    batches: list[Rows]
    sources: list[str]
    references: list[str]


def load_dev_set(config: Config, trained: TrainedModel) -> DevSet | None:
    """The config's dev set, if it has one.

    Raises:
        UserError: it is empty or wrong (DATA), or BLEU can't be counted in its language (USAGE).
    """
    if config.data.dev is None:
        return None
    bleu_metric(config.data.tgt_lang)  # what it lacks is better said now than at the first validation
    if any(is_same_text(config.data.dev, source) for source in config.data.train):
        LOGGER.warning("the dev pairs are training pairs: they cannot tell how well new sentences are translated")
    corpus = prepare([config.data.dev], config.data, AS_IT_IS, trained.tokenizer)
    pairs = list(
        islice(read_pairs(config.data.dev, config.data.src_lang, config.data.tgt_lang), config.train.eval_sentences)
    )
    batches = fixed_batches(corpus.src.lengths, corpus.tgt.lengths, batch_tokens=config.train.batch_tokens)
    return DevSet(config.data.dev, corpus, batches, [src for src, _ in pairs], [tgt for _, tgt in pairs])
