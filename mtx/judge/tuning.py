"""Tuning of the search on dev sets: beam size and length penalty, by BLEU, from one search for each beam size."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.decode.lines import Candidate, Translation
from mtx.decode.translator import Translator
from mtx.judge.compare import Difference, compare
from mtx.judge.report import count, length_ratio
from mtx.judge.statistics import Statistics
from mtx.judge.test_set import TestSet
from mtx.system.device import Precision
from mtx.text.segments import join_translations

BEAM_SIZES = (1, 2, 4, 8)  # To try beside the model's own; larger beams rarely find better translations
PENALTIES = tuple(tenths / 10 for tenths in range(21))  # To try beside the model's own, from 0 to 2


class Search(NamedTuple):
    """Settings of the search that are tuned."""

    beam_size: int
    length_penalty: float


@dataclass(frozen=True, slots=True)
class Tried:
    """Scores on all dev sets together with one setting of the search."""

    beam_size: int
    length_penalty: float
    bleu: float
    chrf: float
    length_ratio: float  # Words in the translations / words in the references


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of tuning a model."""

    model: str
    sets: tuple[str, ...]  # Names of the dev sets
    num_sentences: int
    settings: tuple[Tried, ...]  # All that were tried
    before: Tried  # With the model's own settings
    chosen: Tried  # See `choose`
    difference: Difference  # Between the best and the model's own, by BLEU

    @property
    def is_better(self) -> bool:
        """Whether the best setting is better than the model's own beyond chance."""
        return self.difference.verdict == "better"

    @property
    def gain(self) -> str:
        """The gain of the best setting over the model's own, for people."""
        best, by = self.chosen, self.difference
        tests = f"p = {by.p_bootstrap:.4f} by bootstrap, {by.p_randomization:.4f} by randomization"
        setting = f"beam {best.beam_size}, length penalty {best.length_penalty:g}"
        return f"{setting}: BLEU {best.bleu - self.before.bleu:+z.2f}, {tests}"

    def to_text(self) -> str:
        """A table for people: of each beam size the highest score, the model's own setting and the one chosen."""
        own = self.before.length_penalty
        rising = sorted(self.settings, key=lambda each: (each.bleu, -abs(each.length_penalty - own)))
        highest = {each.beam_size: each for each in rising}
        lines = [f"{'beam':>5}{'length penalty':>16}{'BLEU':>9}{'chrF2':>9}{'length ratio':>14}"]
        for row in sorted(
            {*highest.values(), self.before, self.chosen}, key=lambda row: (row.beam_size, row.length_penalty)
        ):
            scores = f"{row.bleu:9.2f}{row.chrf:9.2f}{row.length_ratio:14.3f}"
            note = "  the model's own" * (row == self.before) or "  chosen" * (row == self.chosen)
            lines.append(f"{row.beam_size:5}{row.length_penalty:16g}{scores}{note}")
        return "\n".join(lines)

    def to_json(self) -> str:
        """The result as one JSON object on one line; `stored` says whether the best setting is stored in the model."""
        fields = {name: getattr(self, name) for name in ("model", "num_sentences", "sets")}
        settings = {name: asdict(getattr(self, name)) for name in ("before", "chosen")}
        tests = {name: getattr(self.difference, name) for name in ("p_bootstrap", "p_randomization")}
        tried = [asdict(each) for each in self.settings]
        return json.dumps({**fields, **settings, **tests, "stored": self.is_better, "settings": tried})


def tune(
    trained: TrainedModel,
    options: DecodeOptions,
    precision: Precision,
    sets: Sequence[TestSet],
    model: str,
    after_beam: Callable[[int], None] = lambda beam_size: None,
) -> Tuning:
    """Find the beam size and the length penalty with the highest BLEU on dev `sets`, all together.

    Each beam size is searched once, for as many hypotheses as it has: which ones it finishes does not depend on the
    length penalty, which then ranks them.

    Raises:
        UserError: there are no lines (DATA), or memory can't hold the search (MACHINE).
    """
    own = Search(options.beam_size, options.length_penalty)
    penalties = sorted({*PENALTIES, own.length_penalty})
    chosen: dict[Search, list[list[str]]] = {}  # The translations of each set
    for beam_size in sorted({*BEAM_SIZES, own.beam_size}):
        # Without length penalty the score is the log-probability.
        found = {"beam_size": beam_size, "n_best": beam_size, "length_penalty": 0.0}
        translator = Translator(trained, options.model_copy(update=found), precision)
        for each in sets:
            translator.set_tag(each.tag)
            translations = translator.translate(each.sources)
            for penalty in penalties:
                texts = [rank(translation, penalty, translator.tgt_lang) for translation in translations]
                chosen.setdefault(Search(beam_size, penalty), []).append(texts)
        translator.close()
        after_beam(beam_size)
    statistics = _count(chosen, sets)
    tried = {
        search: Tried(*search, bleu.score(), chrf.score(), length_ratio(bleu))
        for search, (bleu, chrf) in statistics.items()
    }
    of_best = choose({search: bleu for search, (bleu, _) in statistics.items()}, own)
    pairs = zip(chosen[of_best], chosen[own], strict=True)
    num_different = sum(new != old for one, other in pairs for new, old in zip(one, other, strict=True))
    comparison = compare([statistics[of_best][0]], [statistics[own][0]], model, num_different)
    names, num_sentences = tuple(each.name for each in sets), sum(len(each.sources) for each in sets)
    difference = comparison.differences["bleu"]
    return Tuning(model, names, num_sentences, tuple(tried.values()), tried[own], tried[of_best], difference)


def rank(translation: Translation, length_penalty: float, language: str) -> str:
    """The best translation into `language` with this length penalty, of one whose scores are log-probabilities."""

    def score(candidate: Candidate) -> float:
        return candidate.score / float(max(candidate.num_tokens, 1) ** length_penalty)

    if not translation.parts:
        return translation.tgt
    best = [max(candidates, key=score).tgt for _, candidates in translation.parts]
    return join_translations([text for text, _ in translation.parts], best, language)


def choose(bleu: Mapping[Search, Statistics], own: Search) -> Search:
    """Choose the setting nearest to a model's `own` of those that are within one standard error of the best.

    Breiman et al. (1984) prune trees by this rule. The standard error is that of the difference, by paired bootstrap.
    The best setting itself fits the lengths of one dev set: one with + 0.9 BLEU on dev (beam 8, length penalty 1.9)
    lost 0.6 on the test set, the one chosen (beam 4, 1.6) gained 0.6 and 0.15. Larger beams than the model's come last.
    """
    best = max(bleu.values(), key=Statistics.score)

    def distance(search: Search) -> tuple[bool, int, float]:
        beams = search.beam_size - own.beam_size
        return beams > 0, abs(beams), abs(search.length_penalty - own.length_penalty)

    def is_near_best(each: Statistics) -> bool:
        return best.score() - each.score() <= float(np.std(best.bootstrap - each.bootstrap))

    return next(search for search in sorted(bleu, key=distance) if is_near_best(bleu[search]))


def _count(
    chosen: Mapping[Search, Sequence[Sequence[str]]], sets: Sequence[TestSet]
) -> dict[Search, tuple[Statistics, ...]]:
    """Count for BLEU and chrF2 with each setting. Different translations of a sentence are looked at once each."""
    of_sets: dict[Search, list[tuple[Statistics, ...]]] = {search: [] for search in chosen}
    for number, dev in enumerate(sets):
        places: dict[tuple[int, str], int] = {}
        rows = {
            search: [places.setdefault(each, len(places)) for each in enumerate(texts[number])]
            for search, texts in chosen.items()
        }
        references = [[lines[line] for line, _ in places] for lines in dev.references]
        counted = count([text for _, text in places], references, dev.bleu_tokenizer)
        for search, own in rows.items():
            of_sets[search].append(tuple(replace(each, rows=each.rows[own]) for each in counted))
    return {
        search: tuple(
            replace(of_metric[0], rows=np.concatenate([each.rows for each in of_metric]))
            for of_metric in zip(*each, strict=True)
        )
        for search, each in of_sets.items()
    }
