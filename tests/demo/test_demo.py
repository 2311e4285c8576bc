"""The demo corpus: its splits are disjoint, and no simple rule resolves its pronouns."""

import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from mtx.demo import read_demo
from mtx.demo.adjectives import ADJECTIVES
from mtx.demo.baselines import first_noun, learn_dictionary, pronoun_accuracy, word_for_word
from mtx.demo.corpus import PATTERNS, SIZES, Split, draw_split
from mtx.demo.nouns import NOUNS
from mtx.demo.phrases import Pair
from mtx.demo.pronouns import PRONOUNS
from mtx.demo.verbs import VERBS
from scripts.demo_files import bleu

TIRED = (
    "The animal didn't cross the street because it was too tired.",
    "Das Tier überquerte die Straße nicht, weil es zu müde war.",
)
WIDE = (
    "The animal didn't cross the street because it was too wide.",
    "Das Tier überquerte die Straße nicht, weil sie zu breit war.",
)
NOUN = {noun.en: noun for nouns in NOUNS.values() for noun in nouns}


@pytest.fixture(scope="module")
def splits() -> dict[Split, list[Pair]]:
    return {split: draw_split(split) for split in SIZES}


@pytest.fixture(scope="module")
def dictionary(splits: dict[Split, list[Pair]]) -> dict[str, str]:
    return learn_dictionary((pair.src, pair.tgt) for pair in splits["train"][:2000])


# -------------------------------------------------------------------------------------------------------- the corpus


@pytest.mark.slow
def test_the_corpus_is_large_and_varied(splits: dict[Split, list[Pair]]) -> None:
    sources = {pair.src for pair in splits["train"]}
    assert len(sources) == len(splits["train"]) >= 25_000
    assert [len(splits[split]) for split in SIZES] == list(SIZES.values())
    assert len(splits["pronouns"]) >= 300
    assert len({*PATTERNS, *PRONOUNS}) >= 40

    words = {word for source in sources for word in _words(source)}
    assert not [name for name in (*NOUN, *ADJECTIVES) if not set(_words(name)) <= words]
    forms = {name: {*verb.en_present, *verb.en_past, verb.en_participle, verb.en_ing} for name, verb in VERBS.items()}
    assert not [name for name in forms if not forms[name] & words]
    assert len({*NOUN, *ADJECTIVES, *VERBS}) >= 250


def test_one_source_has_one_reference(splits: dict[Split, list[Pair]]) -> None:
    reference: dict[str, str] = {}
    for pair in (pair for pairs in splits.values() for pair in pairs):
        assert reference.setdefault(pair.src, pair.tgt) == pair.tgt


def test_splits_share_no_source(splits: dict[Split, list[Pair]]) -> None:
    counts = Counter(pair.src for pairs in splits.values() for pair in pairs)
    assert max(counts.values()) == 1


def test_training_never_sees_the_triples_of_the_pronoun_split(splits: dict[Split, list[Pair]]) -> None:
    def triples(*names: Split) -> set[frozenset[str]]:
        return {frozenset(pair.triple) for name in names for pair in splits[name] if pair.triple}

    assert not triples("pronouns") & triples("train", "dev", "test")
    assert len(triples("train")) > 5_000
    assert {TIRED, WIDE} <= set(read_demo("pronouns"))


@pytest.mark.parametrize("split", ["train", "pronouns"])
def test_the_antecedent_is_balanced(split: Split, splits: dict[Split, list[Pair]]) -> None:
    ambiguous = [pair for pair in splits[split] if pair.triple]
    assert 0.49 <= sum(pair.position == 1 for pair in ambiguous) / len(ambiguous) <= 0.51
    meant, other = Counter[str](), Counter[str]()
    for pair in ambiguous:
        assert pair.triple
        antecedents = [NOUN[word].gender for word in pair.triple[:2]]
        assert antecedents[0] != antecedents[1]
        meant[antecedents[pair.position - 1]] += 1
        other[antecedents[2 - pair.position]] += 1
    assert all(0.3 <= count[gender] / len(ambiguous) <= 0.37 for count in (meant, other) for gender in "mfn")


@pytest.mark.process
def test_the_corpus_is_the_same_everywhere(splits: dict[Split, list[Pair]]) -> None:
    program = "from mtx.demo import read_demo; print([list(read_demo(s)) for s in ('dev', 'pronouns')])"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    here = [[(pair.src, pair.tgt) for pair in splits[split]] for split in ("dev", "pronouns")]
    assert done.stdout.decode() == f"{here}\n"
    assert draw_split("train") == splits["train"]


# ----------------------------------------------------------------------------------------------------- the baselines


@pytest.mark.slow
def test_baselines_stay_low(dictionary: dict[str, str]) -> None:
    assert (dictionary["street"], dictionary["it"]) == ("Straße", "es")
    for split in ("test", "pronouns"):
        src, tgt = zip(*read_demo(split), strict=True)
        assert bleu([word_for_word(sentence, dictionary) for sentence in src], tgt) < 40
    for baseline in (word_for_word, first_noun):
        assert pronoun_accuracy([baseline(sentence, dictionary) for sentence in src], tgt) < 55


def test_pronoun_accuracy_counts_exact_sequences() -> None:
    hypotheses = ["Er sah ihn.", "Es war müde.", "Der Hund schlief.", "Er sah sie."]
    references = ["Er sah ihn.", "Sie war müde.", "Er schlief.", "Er sah sie dort."]
    assert pronoun_accuracy(hypotheses, references) == 50


def test_first_noun_takes_the_first_gender() -> None:
    assert first_noun("The animal was old because it was tired.", {}).split()[5] == "es"
    assert first_noun("The dog was old because it was tired.", {}).split()[5] == "er"
    assert first_noun("He saw the dog in the tent and fed it.", {}).split()[-1] == "ihn."


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())
