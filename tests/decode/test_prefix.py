"""Translations begin with the given text, whatever the search and the tokens that spell it; the rest is the model's."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.config.settings import TokenizerSettings
from mtx.decode.beam import beam_search
from mtx.decode.constraints import constraints_of
from mtx.decode.loops import Surfaces
from mtx.decode.prefix import Prefix, Prefixes, _steps
from mtx.decode.sampling import sample_search
from mtx.decode.score import Scorer
from mtx.decode.search import Hypothesis, greedy_search
from mtx.decode.translator import Translator
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer
from mtx.system.device import choose_precision
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer
from tests.decode.test_search import BOS, EOS, OPTIONS, Tables, changed, enumerate_all, random_tables, sources

CPU = choose_precision("fp32", torch.device("cpu"))
SURFACES = Surfaces([b"", b"a", b"ab", b"", b"b", b"bc"])  # of the tokens of a table; 3 is the end symbol
UNK = 0


def spelled(ids: Sequence[int]) -> bytes:
    return b"".join(SURFACES.by_id[id_] for id_ in ids)


# --- on tables -------------------------------------------------------------------------------------------------------


@given(st.text("abc", min_size=1, max_size=6).map(str.encode), st.lists(st.sampled_from([1, 2, 4, 5]), max_size=4))
def test_the_next_tokens_are_those_that_can_still_spell_the_prefix(text: bytes, ids: list[int]) -> None:
    def can_end(ids: list[int]) -> bool:
        if len(spelled(ids)) >= len(text):
            return spelled(ids).startswith(text)
        return text.startswith(spelled(ids)) and any(can_end([*ids, token]) for token in (1, 2, 4, 5))

    if not can_end(ids):
        return
    expected = {token for token in (1, 2, 4, 5) if can_end([*ids, token])}
    found = Prefix("", (), _steps(text, SURFACES, UNK)).next_tokens(ids)
    assert (found is None) == (len(spelled(ids)) >= len(text))
    assert found is None or set(found) == expected


def best(tables: Tables, text: bytes, length: int, options: DecodeOptions, sentence: int) -> list[Hypothesis]:
    everything = enumerate_all(tables.logp_after(sentence), 6, length, options)
    return [h for h in everything if spelled(h.ids).startswith(text) and 0 not in h.ids]


@pytest.mark.parametrize("text", [b"a", b"ab", b"bca", b"abbc"])
def test_a_wide_beam_finds_the_best_that_begin_with_the_prefix(text: bytes) -> None:
    """Every third sentence has none. Tokens of the prefix count with their own probability."""
    tables = random_tables(11, 3, vocab_size=6)
    tables.logits[:, :, 0] = -torch.inf  # the token without text
    prefix = Prefix(text.decode(), (), _steps(text, SURFACES, UNK))
    options = changed(OPTIONS, beam_size=1000, n_best=8, lookahead=9, max_length_factor=0.1, max_length_extra=2)
    prefixes = [prefix, None, prefix]
    room = [prefix.max_tokens, 0, prefix.max_tokens]
    found = beam_search(
        tables, *sources([1] * 3), options, bos_id=BOS, eos_id=EOS, constraints=[Prefixes(prefixes, [])], room=room
    )
    for sentence, (hypotheses, own) in enumerate(zip(found, prefixes, strict=True)):
        longest = 2 + (prefix.max_tokens if own is not None else 0)
        expected = best(tables, text if own is not None else b"", longest, options, sentence)[:8]
        assert [h.ids for h in hypotheses] == [h.ids for h in expected]
        assert [h.score for h in hypotheses] == pytest.approx([h.score for h in expected], abs=1e-5)


@pytest.mark.parametrize("method", [{}, {"sample": True, "samples": 3}, {"beam_size": 3}, {"with_scores": False}])
def test_within_a_prefix_nothing_is_blocked_and_beyond_it_everything_is(method: dict[str, Any]) -> None:
    """At the first step without a text, the model takes what it likes best, and repeats nothing after the prefix."""
    tables = random_tables(12, 20, vocab_size=6, eos_bonus=-1.0)
    text = b"aaabab"
    prefix = Prefix(text.decode(), (), _steps(text, SURFACES, UNK))
    options = changed(OPTIONS, no_repeat_ngram=1, min_length=3, **method)
    constraints = [Prefixes([prefix] * 20, constraints_of(options, EOS))]
    search = sample_search if options.sample else greedy_search if options.beam_size == 1 else beam_search
    rules: dict[str, Any] = {"bos_id": BOS, "eos_id": EOS, "constraints": constraints, "room": [prefix.max_tokens] * 20}
    for each in search(tables, *sources([6] * 20), options, **rules):
        for h in each:
            assert spelled(h.ids).startswith(text)
            count = next(count for count in range(len(h.ids) + 1) if spelled(h.ids[:count]).startswith(text))
            rest = h.ids[count:]
            assert len(set(rest)) == len(rest)
            assert not set(rest) & set(h.ids[:count])
            assert math.isfinite(h.logp) or not options.with_scores


# --- with a tokenizer and a model ------------------------------------------------------------------------------------


def make_tokenizer(sentences: list[str], byte_fallback: bool) -> Tokenizer:
    settings = TokenizerSettings(vocab_size=360 if byte_fallback else 60, byte_fallback=byte_fallback)
    return train_tokenizer(sentences, sentences, settings, log=lambda line: None)


@pytest.fixture
def own(trained: TrainedModel, make_model: Callable[..., Transformer], sentences: list[str]) -> TrainedModel:
    """A random model with byte pieces."""
    tokenizer = make_tokenizer(sentences, byte_fallback=True)
    sizes = tokenizer.src_vocab_size, tokenizer.tgt_vocab_size
    generation = trained.generation.model_copy(update={"max_source_tokens": 50})
    model = make_model(3, vocab_sizes=sizes).eval()
    return replace(trained, tokenizer=tokenizer, model=model, generation=generation)


PREFIXES = ["The", "the d", "The dog se", "The dog ", "日本", "日本語の dog", "a\u0301", "😀 x", "x \u2581 " * 5 + "x"]
PREFIXES.append("ha " * 6)
METHODS: dict[str, dict[str, Any]] = {
    "greedy": {"beam_size": 1},
    "beam": {"beam_size": 4, "n_best": 4},
    "groups": {"beam_size": 4, "n_best": 4, "beam_groups": 2},
    "samples": {"sample": True, "samples": 3, "top_k": 9},
    "mbr": {"mbr": 6, "beam_size": 3},
    "sampled mbr": {"sample": True, "mbr": 6},
    "no repeats": {"no_repeat_ngram": 2, "repetition_penalty": 1.5, "min_length": 2},
    "coverage": {"coverage_penalty": 0.5},
}


@pytest.mark.parametrize(("name", "num_models"), [*((name, 1) for name in METHODS), ("beam", 2)])
def test_every_translation_begins_with_its_prefix(
    name: str, num_models: int, own: TrainedModel, sentences: list[str]
) -> None:
    """Alone as among others, and scored as any other translation."""
    options = own.generation.decode.with_options(**METHODS[name])
    translator = Translator(own, options, CPU, [own.model] * (num_models - 1))
    lines = sentences[: len(PREFIXES) + 1]
    found = translator.translate(lines, prefixes=[*PREFIXES, None])
    for translation, prefix in zip(found, PREFIXES, strict=False):
        assert all(candidate.tgt.startswith(prefix) for candidate in translation.nbest), prefix
    assert found[-1] == translator.translate(lines[-1:])[0]
    for number in (1, 4):
        assert translator.translate([lines[number]], prefixes=[PREFIXES[number]])[0].tgt == found[number].tgt


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_score_is_the_models_own(beam_size: int, own: TrainedModel, sentences: list[str]) -> None:
    options = own.generation.decode.with_options(beam_size=beam_size, n_best=beam_size, prefix="The dog se")
    translator = Translator(own, options, CPU)
    segments = translator.segmenter.segments(sentences[:9], ["The dog se", "日"] * 4 + [""])
    found = translator._search_at_once(segments)
    src = [segment.ids for segment, each in zip(segments, found, strict=True) for _ in each]
    scored = Scorer([own], options, CPU)._token_logps(src, [h.ids for each in found for h in each])
    logps = {row: sum(of_row) for rows, each in scored for row, of_row in zip(rows, each, strict=True)}
    for row, h in enumerate(h for each in found for h in each):
        assert h.logp == pytest.approx(logps[row], rel=1e-5)


def test_the_first_segment_of_a_line_begins_with_the_prefix(own: TrainedModel) -> None:
    options = own.generation.decode.with_options(beam_size=1, split="always")
    lines = ["  The dog sees. The cat sees.", "1234", "12. The dog.", "", " \t", "☃ ☃ ☃"]
    for translation in Translator(own, options.model_copy(update={"prefix": "A c"}), CPU).translate(lines):
        assert translation.tgt.startswith("A c")
        assert not any(part.tgt.startswith("A c") for part in translation.sentences[1:])
    assert [each.tgt for each in Translator(own, options, CPU).translate(["1234", ""])] == ["1234", ""]


def test_a_translation_that_ends_after_its_prefix_keeps_the_spaces(own: TrainedModel) -> None:
    """The tokenizer removes them, as it does everywhere at the end."""
    translator = Translator(own, own.generation.decode.with_options(), CPU)
    [segment] = translator.segmenter.segments(["A dog."], ["The dog "])
    ids = own.tokenizer.encode_tgt(["The dog"])[0]
    assert translator._decode([segment], [[Hypothesis(ids, 0.0, 0.0)]]) == [["The dog "]]


@pytest.mark.parametrize("text", ["a\nb", " a", "  ", "a\ud800", "the " * 99, "\u2028"])
def test_an_impossible_prefix_is_refused(text: str, own: TrainedModel) -> None:
    translator = Translator(own, own.generation.decode.with_options(), CPU)
    with pytest.raises(UserError, match=r"prefix.*\(.*\)\. ") as caught:
        translator.translate(["The dog"], prefixes=[text])
    assert caught.value.code == ExitCode.DATA
    with pytest.raises(UserError):
        Translator(own, own.generation.decode.with_options(prefix=text), CPU)


def test_a_prefix_outside_the_vocabulary_is_refused(own: TrainedModel, sentences: list[str]) -> None:
    tokenizer = make_tokenizer(sentences, byte_fallback=False)
    surfaces = Surfaces(tokenizer.tgt_surfaces())
    assert Prefix.of("The dog", tokenizer, surfaces, 99).text == "The dog"
    with pytest.raises(UserError, match="no translation by this model can begin with the prefix"):
        Prefix.of("The 日", tokenizer, surfaces, 99)


@given(st.text("The dog日本😀 ", min_size=1, max_size=8).map(str.strip).filter(bool))
def test_the_tokens_of_a_prefix_spell_it(text: str) -> None:
    tokenizer = TOKENIZER
    surfaces = Surfaces(tokenizer.tgt_surfaces())
    try:
        prefix = Prefix.of(text, tokenizer, surfaces, 99)
    except UserError:
        assert tokenizer.decode(tokenizer.encode_tgt([text])) != [text]
        return
    ids: list[int] = []
    generator = torch.Generator().manual_seed(len(text))
    while (following := prefix.next_tokens(ids)) is not None:
        ids.append(following[int(torch.randint(len(following), (), generator=generator))])
        assert len(ids) <= prefix.max_tokens
    if "\ufffd" not in tokenizer.decode([ids])[0]:
        assert tokenizer.decode([ids])[0].startswith(text)


TOKENIZER = make_tokenizer(["The dog sees the cat.", "A dog."] * 9, byte_fallback=True)
