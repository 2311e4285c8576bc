"""Counts of a metric in each sentence, from which sacreBLEU computes the score of any part of a corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtx.errors import ExitCode, UserError
from mtx.text.languages import base_language

SEED = 12345  # sacreBLEU's default seed, so that intervals and tests equal those of its command
NUM_SAMPLES = 1000  # Bootstrap samples, as sacreBLEU's default
SENTENCES_AT_A_TIME = 1000  # sacreBLEU keeps the n-grams of their references: 10 KB a sentence for chrF
CUT_BY_TER = ("zh", "ja-mecab")  # BLEU tokenizers of languages for which TER splits words into characters

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """The counts of a metric in each sentence of a corpus."""

    name: str  # Name of the metric in reports
    metric: Any  # sacreBLEU's
    rows: Rows  # The counts: a row for each sentence

    @classmethod
    def of(cls, name: str, metric: Any, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> "Statistics":
        """Count in `hypotheses`; each of `references` is a translation of the whole text."""
        parts = []
        for start in range(0, len(hypotheses), SENTENCES_AT_A_TIME):
            part = slice(start, start + SENTENCES_AT_A_TIME)
            rows = metric._extract_corpus_statistics(hypotheses[part], [lines[part] for lines in references])
            parts.append(np.array(rows, dtype=np.float64))
        return cls(name, metric, np.concatenate(parts))

    @cached_property
    def corpus(self) -> Any:
        """sacreBLEU's score object of the corpus."""
        return self.metric._compute_score_from_stats(self.rows.sum(0).tolist())

    @property
    def key(self) -> str:
        """Name of the metric in JSON."""
        return json_key(self.name)

    @property
    def signature(self) -> str:
        """sacreBLEU's signature, which names the bootstrap samples if there are any."""
        return str(self.metric.get_signature())

    @property
    def is_error(self) -> bool:
        """Whether less is better."""
        return self.name == "TER"

    def score(self, sentences: Any = slice(None)) -> float:
        """The score of a part of the corpus, given as an index of rows."""
        return float(self.metric._compute_score_from_stats(self.rows[sentences].sum(0).tolist()).score)

    def sentence_scores(self) -> list[float]:
        """The score of each sentence."""
        return [float(self.metric._compute_score_from_stats(row.tolist()).score) for row in self.rows]

    @cached_property
    def bootstrap(self) -> NDArray[np.float64]:
        """Scores of the samples that sacreBLEU draws from the sentences (Koehn 2004), noted in the signature.

        sacreBLEU's own code holds all samples in memory at once (72 KB a sentence for chrF and 1,000 samples) and
        raises a TypeError if chrF is 0 in some samples only.
        """
        self.metric.n_bootstrap, self.metric.seed = NUM_SAMPLES, str(SEED)
        generator, rows = np.random.default_rng(SEED), self.rows.astype(np.float32)
        samples = (rows[generator.choice(len(rows), size=len(rows))].sum(0) for _ in range(NUM_SAMPLES))
        return np.array([self.metric._compute_score_from_stats(sample).score for sample in samples], dtype=np.float64)

    @property
    def ci(self) -> float:
        """Half-width of the 95 % interval from the bootstrap samples."""
        from sacrebleu.significance import estimate_ci

        return float(estimate_ci(self.bootstrap)[1])


def json_key(name: str) -> str:
    """The name in JSON of the metric that reports call `name`."""
    return name.lower().replace("chrf2", "chrf").replace(" ", "_").replace("-", "_")


def bleu_and_chrf(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str
) -> tuple[Statistics, Statistics]:
    """BLEU, which cuts words by this `tokenizer`, and chrF2."""
    from sacrebleu.metrics import BLEU, CHRF

    bleu = Statistics.of("BLEU", BLEU(tokenize=tokenizer), hypotheses, references)
    return bleu, Statistics.of("chrF2", CHRF(), hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str) -> Statistics:
    """TER (Snover et al. 2006), by characters where BLEU's `tokenizer` is one for Chinese or Japanese."""
    from sacrebleu.metrics import TER

    cuts = tokenizer in CUT_BY_TER
    return Statistics.of("TER", TER(normalized=cuts, asian_support=cuts), hypotheses, references)


def preprocessed_bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    tokenizer: str,
    moses_lang: str | None,
    lowercase: bool,
) -> Statistics:
    """BLEU as papers on small corpora report it: of text lower-cased, tokenized by the rules of Moses, or both.

    `moses_lang` is the language of these rules; None leaves the words to BLEU's `tokenizer`.

    Raises:
        UserError: sacremoses is not installed (MACHINE).
    """
    from sacrebleu.metrics import BLEU

    name = "lower-cased BLEU" if lowercase else "BLEU"
    if moses_lang is not None:
        name, tokenizer = f"tokenized {name}", "none"
        moses = _moses_tokenizer(moses_lang)
        hypotheses, *references = (
            [moses.tokenize(line, return_str=True, escape=False) for line in lines]
            for lines in (hypotheses, *references)
        )
    return Statistics.of(name, BLEU(lowercase=lowercase, tokenize=tokenizer, force=True), hypotheses, references)


def _moses_tokenizer(language: str) -> Any:
    try:
        return import_module("sacremoses").MosesTokenizer(base_language(language))
    except ImportError as error:
        what, do = "--tokenized needs sacremoses, which is not installed", "Install it with: pip install 'mtx[moses]'."
        raise UserError(ExitCode.MACHINE, what, do=do) from error
