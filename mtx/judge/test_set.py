"""Test sets: sentences, their references, and what systems make of them."""

import time
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from mtx.errors import ExitCode, UserError
from mtx.judge.languages import choose_bleu_tokenizer

if TYPE_CHECKING:
    from mtx.decode.translator import Translator


@dataclass(frozen=True)
class TestSet:
    """Sentences to translate and their references."""

    name: str
    sources: list[str]  # None are known of given translations
    references: list[list[str]]  # Each a translation of all sources
    tag: str | None
    language: str | None  # Language of the references; None for the model's
    hypotheses: list[str] | None = None  # Translations to score instead of a model's
    src_lang: str = "und"

    def __post_init__(self) -> None:
        """Refuse a set without lines (DATA), before a model translates others."""
        if not self.references[0]:
            what, do = "nothing to score: no lines", "Give files with at least one line."
            raise UserError(ExitCode.DATA, what, where=self.name, do=do)

    @cached_property
    def bleu_tokenizer(self) -> str:
        """sacreBLEU's tokenizer for the references."""
        return choose_bleu_tokenizer(self.language, chain.from_iterable(self.references))


@dataclass(frozen=True, slots=True)
class Translated:
    """Translations of a test set by one system."""

    hypotheses: list[str]
    system: str | None = None  # Model folder or file of a baseline; None for translations that are scored
    seconds: float = 0.0  # Translation time, without loading the model
    num_tokens: int = 0  # Tokens generated


def translate_set(translator: "Translator", test_set: TestSet, system: str) -> Translated:
    """Translate `test_set` by a model in the folder `system`."""
    translator.set_tag(test_set.tag)
    start = time.perf_counter()
    translations = translator.translate(test_set.sources)
    seconds = time.perf_counter() - start
    num_tokens = sum(translation.num_tokens for translation in translations)
    return Translated([translation.tgt for translation in translations], system, seconds, num_tokens)
