"""Scores of translations: BLEU and chrF by sacreBLEU, with signatures and confidence intervals."""

import json
import math
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mtx.errors import ExitCode, UserError
from mtx.judge.breakdown import Breakdown
from mtx.judge.compare import Comparison
from mtx.judge.statistics import Statistics, bleu_and_chrf
from mtx.text.languages import is_language_code, nearest_code, script_of
from mtx.text.writing_systems import SPACELESS, spaceless_language

if TYPE_CHECKING:
    from mtx.decode.lines import Translation
    from mtx.decode.translator import Translator

# sacreBLEU's tokenizers for scripts that its default, 13a, does not suit, by ISO 15924 code
BLEU_TOKENIZERS = {
    **dict.fromkeys(SPACELESS, "char"),
    **dict.fromkeys(("Hans", "Hant", "Hani"), "zh"),
    **dict.fromkeys(("Jpan", "Hira", "Kana", "Hrkt"), "ja-mecab"),
    **dict.fromkeys(("Kore", "Hang"), "ko-mecab"),
}

# A lone comma or full stop, or what tokenizers write for hyphens, apostrophes and subwords.
_TOKENIZED = re.compile(r"\S [.,](?: |$)|\S @-@ \S|&(?:apos|quot);|@@ |\u2581")


@dataclass(frozen=True, slots=True)
class Score:
    """A corpus score."""

    score: float  # In percent, not rounded
    ci: float  # Half-width of the 95 % bootstrap interval over sentences, in percent; 0 if not computed
    signature: str

    @classmethod
    def of(cls, statistics: Statistics, with_ci: bool = True) -> "Score":
        """The score of a corpus, with its interval if asked for."""
        ci = statistics.ci if with_ci else 0.0  # before the signature, which names the samples
        return cls(float(statistics.corpus.score), ci, statistics.signature)

    @classmethod
    def mean_of(cls, scores: Sequence["Score"]) -> "Score":
        """The mean of the scores of independent texts, with the interval of the mean and all their signatures."""
        ci = math.hypot(*(each.ci for each in scores)) / len(scores)
        signatures = dict.fromkeys(each.signature for each in scores)
        return cls(fmean(each.score for each in scores), ci, "; ".join(signatures))


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `mtx evaluate`, for one test set or the mean over several."""

    model: str | None
    num_sentences: int
    bleu: Score
    chrf: Score
    length_ratio: float  # Words in the hypotheses / words in the references, as BLEU counts them
    seconds: float = 0.0  # Translation time, without loading the model
    tokens_per_second: float = 0.0
    num_empty: int = 0  # Hypotheses without text; not in the JSON
    name: str | None = None  # Name of the test set, if it is one of several
    sets: tuple["Report", ...] = ()  # Reports on each test set, if these scores are means
    more: Mapping[str, Score] = field(default_factory=dict)  # Scores by other metrics, by their names
    comparison: Comparison | None = None  # With a baseline; None of a mean
    breakdown: Breakdown | None = None  # None of a mean
    statistics: tuple[Statistics, ...] = field(
        default=(), repr=False, compare=False
    )  # Counts of all metrics; not in the JSON

    def with_metric(self, statistics: Statistics) -> "Report":
        """This report with the score by one more metric."""
        more = {**self.more, statistics.name: Score.of(statistics)}
        return replace(self, more=more, statistics=(*self.statistics, statistics))

    @classmethod
    def mean_of(cls, reports: Sequence["Report"]) -> "Report":
        """A report with the mean scores and the totals of several; a single one is returned, without its name."""
        first, *others = reports
        if not others:
            return replace(first, name=None)
        seconds = sum(each.seconds for each in reports)
        num_tokens = sum(each.tokens_per_second * each.seconds for each in reports)
        return cls(
            first.model,
            sum(each.num_sentences for each in reports),
            Score.mean_of([each.bleu for each in reports]),
            Score.mean_of([each.chrf for each in reports]),
            fmean(each.length_ratio for each in reports),
            seconds,
            num_tokens / seconds if seconds else 0.0,
            sum(each.num_empty for each in reports),
            sets=tuple(reports),
            more={name: Score.mean_of([each.more[name] for each in reports]) for name in first.more},
        )

    def to_json(self) -> str:
        """The report as one JSON object on one line; if there are several sets, `sets` has such an object for each."""
        return json.dumps(self._to_dict())

    def _to_dict(self) -> dict[str, Any]:
        names = "model", "num_sentences", "bleu", "chrf", "length_ratio", "seconds", "tokens_per_second"
        values: dict[str, Any] = {} if self.name is None else {"name": self.name}
        values |= {name: asdict(value) if isinstance(value := getattr(self, name), Score) else value for name in names}
        values |= {name.lower().replace(" ", "_").replace("-", "_"): asdict(each) for name, each in self.more.items()}
        if self.comparison is not None:
            values["comparison"] = asdict(self.comparison)
        if self.breakdown is not None:
            values["breakdown"] = asdict(self.breakdown)
        return {**values, **({"sets": [each._to_dict() for each in self.sets]} if self.sets else {})}

    def to_text(self) -> str:
        """The report as a few lines for people."""
        lines = [line for each in self.sets for line in (f"{each.name}:", each.to_text())]
        lines += [f"mean of {len(self.sets)} sets:"] if self.sets else []
        lines += [
            f"{name:<6} {score.score:6.2f} ± {score.ci:.2f}   {score.signature}"
            for name, score in (("BLEU", self.bleu), ("chrF2", self.chrf), *self.more.items())
        ]
        speed = f", {self.seconds:.1f} s, {self.tokens_per_second:,.0f} tokens/s" if self.seconds else ""
        empty = f", {self.num_empty:,} empty" if self.num_empty else ""
        lines.append(f"{self.num_sentences:,} sentences{empty}, length ratio {self.length_ratio:.3f}{speed}")
        lines += self.comparison.to_lines() if self.comparison is not None else []
        lines += self.breakdown.to_lines() if self.breakdown is not None else []
        return "\n".join(lines)


def choose_bleu_tokenizer(tgt_lang: str | None, references: Sequence[str] = ()) -> str:
    """Choose sacreBLEU's tokenizer for BLEU by the script of a language or, if that is not known, of `references`.

    If the one for Japanese or Korean is not installed, choose `char`: each character counts as a word.
    """
    wanted = _best_bleu_tokenizer(scored_language(tgt_lang, references))
    return wanted if has_bleu_tokenizer(wanted) else "char"


def scored_language(tgt_lang: str | None, references: Iterable[str]) -> str | None:
    """The language by which BLEU cuts words: `tgt_lang`, or if its script is not known that of `references`."""
    return tgt_lang if script_of(tgt_lang or "") else spaceless_language(references) or tgt_lang


def script_notes(tgt_lang: str | None, references: Iterable[str]) -> Iterator[str]:
    """Yield a line if `references` put no spaces between words, but BLEU of `tgt_lang` counts on them."""
    if (
        script_of(tgt_lang or "")
        and _best_bleu_tokenizer(tgt_lang) == "13a"
        and (found := spaceless_language(references))
    ):
        yield f"the references are scored as {tgt_lang}, but by their script they are in {found}"


def language_notes(src_langs: Iterable[str], tgt_langs: Collection[str]) -> Iterator[str]:
    """Yield a line for each language that is unknown or scored by characters, for the user to read before training."""
    for language in dict.fromkeys(tgt_langs):
        wanted = _best_bleu_tokenizer(language)
        if not has_bleu_tokenizer(wanted):
            what = f"BLEU of {language} counts characters (tok:char): {wanted}, which cuts words, is not installed"
            yield f"{what}. Install it with: pip install 'mtx[cjk]'."
    for language in dict.fromkeys([*src_langs, *tgt_langs]):
        if not is_language_code(language):
            near = nearest_code(language)
            do = "Write x-NAME for a language without a code." if near == language else f"Did you mean {near}?"
            yield f"{language} is not a language code, so rules and scores do not know the language. {do}"


def _best_bleu_tokenizer(language: str | None) -> str:
    return BLEU_TOKENIZERS.get(script_of(language or "") or "", "13a")


def has_bleu_tokenizer(tokenizer: str) -> bool:
    """Whether the packages of a tokenizer of sacreBLEU are installed."""
    from sacrebleu.metrics import BLEU

    try:
        BLEU(tokenize=tokenizer)
    except (ImportError, RuntimeError):
        return False
    return True


def looks_tokenized(lines: Sequence[str]) -> bool:
    """Whether most non-empty lines look tokenized, such as "isn 't it , Sir ."."""
    texts = [line for line in lines if line.strip()]
    return sum(_TOKENIZED.search(line) is not None for line in texts) > len(texts) / 2


def score(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str, with_ci: bool = True
) -> tuple[Score, Score, float]:
    """BLEU, chrF2 and the length ratio of a corpus, as the `sacrebleu` command computes them with this `tokenizer`.

    Each of `references` is a translation of the whole text.

    Raises:
        UserError: no lines, or unequal counts (DATA).
    """
    bleu, chrf = _count(hypotheses, references, tokenizer)
    return Score.of(bleu, with_ci), Score.of(chrf, with_ci), _length_ratio(bleu)


def _count(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str
) -> tuple[Statistics, Statistics]:
    for lines in references:
        if len(hypotheses) != len(lines):
            what = f"{len(hypotheses):,} hypotheses, {len(lines):,} references"
            raise UserError(ExitCode.DATA, what, do="Give one reference a line for each hypothesis.")
    if not hypotheses:
        raise UserError(ExitCode.DATA, "nothing to score: no lines", do="Give files with at least one line.")
    return bleu_and_chrf(hypotheses, references, tokenizer)


def _length_ratio(bleu: Statistics) -> float:
    return float(bleu.corpus.sys_len / max(bleu.corpus.ref_len, 1))


def evaluate(
    translator: "Translator", sources: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str, model: str
) -> tuple[Report, "list[Translation]"]:
    """Translate `sources` and score the result, with BLEU by this `tokenizer`."""
    start = time.perf_counter()
    translations = translator.translate(sources)
    seconds = time.perf_counter() - start
    return report_on_model(translations, references, tokenizer, model, seconds), translations


def report_on_model(
    translations: "Sequence[Translation]",
    references: Sequence[Sequence[str]],
    tokenizer: str,
    model: str,
    seconds: float,
) -> Report:
    """Score `translations`, which `model` made in `seconds`."""
    report = report_on([translation.tgt for translation in translations], references, tokenizer)
    num_tokens = sum(translation.num_tokens for translation in translations)
    return replace(report, model=model, seconds=seconds, tokens_per_second=num_tokens / seconds)


def report_on(hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str) -> Report:
    """Score `hypotheses`, made by any system."""
    bleu, chrf = _count(hypotheses, references, tokenizer)
    num_empty = sum(not line.strip() for line in hypotheses)
    scores = Score.of(bleu), Score.of(chrf)
    return Report(None, len(hypotheses), *scores, _length_ratio(bleu), num_empty=num_empty, statistics=(bleu, chrf))
