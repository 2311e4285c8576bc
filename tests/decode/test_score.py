"""A given translation gets the score that the search gives it; the slow twin is the search's own `step`."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.config.settings import TokenizerSettings
from mtx.decode import score as score_module
from mtx.decode.ensemble import average
from mtx.decode.lines import Segment
from mtx.decode.score import Scorer
from mtx.decode.translator import Translator
from mtx.model import Transformer
from mtx.model.fast import for_decoding
from mtx.system.device import Precision, choose_precision
from mtx.text.train_tokenizer import train_tokenizer

CPU = choose_precision("fp32", torch.device("cpu"))


@pytest.fixture
def options(trained: TrainedModel) -> DecodeOptions:
    return trained.generation.decode.with_options(batch_tokens=60, length_penalty=0.7)


@torch.inference_mode()
def step_by_step(trained: list[TrainedModel], options: DecodeOptions, src: str, tgt: str) -> list[float]:
    """The log-probability of each target token and the end symbol, as the search computes them."""
    tokenizer = trained[0].tokenizer
    src_ids = torch.tensor([[*tokenizer.encode_src([src])[0], tokenizer.eos_id]])
    models = [for_decoding(each.model, torch.float32) for each in trained]
    states = [model.start(src_ids, src_ids >= 0) for model in models]
    found, previous = [], tokenizer.bos_id
    for token in (*tokenizer.encode_tgt([tgt])[0], tokenizer.eos_id):
        steps = [
            model.step(torch.tensor([previous]), state)  # type: ignore[arg-type]
            for model, state in zip(models, states, strict=True)
        ]
        states = [state for _, state in steps]
        logits = average([logits for logits, _ in steps], options.ensemble)
        found.append(logits.log_softmax(dim=-1)[0, token].item())
        previous = token
    return found


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("mean", ["logprobs", "probs"])
def test_the_score_is_that_of_the_search_step_by_step(
    count: int, mean: str, trained: TrainedModel, make_model: Callable[..., Transformer], sentences: list[str],
    options: DecodeOptions,
) -> None:  # fmt: skip
    sizes = trained.tokenizer.src_vocab_size, trained.tokenizer.tgt_vocab_size
    models = [trained, replace(trained, model=make_model(8, vocab_sizes=sizes).eval())][:count]
    options = options.model_copy(update={"ensemble": mean})
    pairs = [*zip(sentences[:5], sentences[5:10], strict=True), (sentences[0], ""), ("", sentences[1])]
    scored = Scorer(models, options, CPU).score(pairs)
    assert [(each.src, each.tgt) for each in scored] == pairs
    for found, (src, tgt) in zip(scored, pairs, strict=True):
        tokens = step_by_step(models, options, src, tgt)
        assert found.num_tokens == len(tokens)
        assert found.logp == pytest.approx(sum(tokens), rel=1e-5)
        assert found.score == pytest.approx(sum(tokens) / len(tokens) ** 0.7, rel=1e-5)
        assert found.end_logp == pytest.approx(tokens[-1], rel=1e-5)
        assert sum(word.logp for word in found.words) + found.end_logp == pytest.approx(found.logp)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_the_tokens_of_hypotheses_have_the_probability_that_the_search_found(
    beam_size: int, trained: TrainedModel, sentences: list[str], options: DecodeOptions
) -> None:
    options = options.model_copy(update={"beam_size": beam_size, "n_best": beam_size})
    src = trained.tokenizer.encode_src(sentences)
    found = [
        h
        for each in Translator(trained, options, CPU)._search_at_once([Segment(0, "", ids) for ids in src])
        for h in each
    ]
    pairs = [ids for ids in src for _ in range(beam_size)], [hypothesis.ids for hypothesis in found]
    assert len(found) == len(pairs[0])
    for rows, logps in Scorer([trained], options, CPU)._token_logps(*pairs):
        for row, of_tokens in zip(rows, logps, strict=True):
            assert sum(of_tokens) == pytest.approx(found[row].logp, rel=1e-5)


def test_a_score_does_not_depend_on_the_pairs_beside_it(
    trained: TrainedModel, sentences: list[str], options: DecodeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = list(zip(sentences, reversed(sentences), strict=True))
    alone = [each.score for each in Scorer([trained], options, CPU).score(pairs)]
    for batch_tokens in (1, 100, 100_000):
        other = options.model_copy(update={"batch_tokens": batch_tokens})
        assert [each.score for each in Scorer([trained], other, CPU).score(pairs)] == pytest.approx(alone, rel=1e-6)
    monkeypatch.setattr(score_module, "ROWS_AT_ONCE", 7)
    assert [each.score for each in Scorer([trained], options, CPU).score(pairs)] == pytest.approx(alone, rel=1e-6)


def test_blank_lines_and_long_lines_are_scored_whole(trained: TrainedModel, options: DecodeOptions) -> None:
    long = "The dog sees the cat. " * 9
    blank, empty, scored = Scorer([trained], options, CPU).score([("", " \t"), (long, ""), (long, long)])
    assert (blank.score, blank.num_tokens, blank.words, blank.is_long) == (0.0, 0, (), False)
    assert (empty.num_tokens, empty.is_long, empty.words) == (1, True, ())
    assert scored.num_tokens == len(trained.tokenizer.encode_tgt([long.strip()])[0]) + 1
    assert Scorer([trained], options, CPU).score([]) == []


def test_a_batch_too_large_for_memory_is_split(
    trained: TrainedModel, sentences: list[str], options: DecodeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = list(zip(sentences, sentences, strict=True))
    scorer = Scorer([trained], options, CPU)
    expected = [each.score for each in scorer.score(pairs)]
    compute = scorer._batch_logps

    def small_only(batch: score_module.Batch) -> torch.Tensor:
        if len(batch.rows) > 1:
            raise MemoryError
        return compute(batch)

    monkeypatch.setattr(scorer, "_batch_logps", small_only)
    assert [each.score for each in scorer.score(pairs)] == pytest.approx(expected, rel=1e-6)


def test_numbers_that_overflow_are_an_error(trained: TrainedModel, options: DecodeOptions) -> None:
    scorer = Scorer([trained], options, CPU)
    scorer._batch_logps = lambda batch: torch.full((batch.num_tokens,), math.nan)  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError):
        scorer.score([("The dog", "sees")])


@pytest.mark.parametrize("byte_fallback", [False, True])
def test_subwords_are_folded_into_words(
    byte_fallback: bool, trained: TrainedModel, make_model: Callable[..., Transformer], sentences: list[str]
) -> None:
    settings = TokenizerSettings(vocab_size=330 if byte_fallback else 60, byte_fallback=byte_fallback)
    tokenizer = train_tokenizer(sentences, sentences, settings, log=lambda line: None)
    model = make_model(3, vocab_sizes=(tokenizer.src_vocab_size, tokenizer.tgt_vocab_size)).eval()
    own = replace(trained, tokenizer=tokenizer, model=model)
    options = own.generation.decode.with_options()
    lines = [sentences[0], "  The   dog  ", "dog é日x cat", "dog"]
    for found in Scorer([own], options, CPU).score([("dog", line) for line in lines]):
        words = [word.word for word in found.words]
        assert len(words) == len(found.tgt.split())
        if byte_fallback:
            assert words == found.tgt.split()
    chinese = replace(own, tgt_lang="zh")
    (found,) = Scorer([chinese], options, CPU).score([("dog", "日本 cat")])
    assert "".join(word.word for word in found.words).replace(" ", "") == ("日本cat" if byte_fallback else "⁇cat")
    assert [word.word for word in found.words][:1] == (["日"] if byte_fallback else ["⁇"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_other_arithmetic_is_that_of_the_search(
    dtype: torch.dtype, trained: TrainedModel, make_model: Callable[..., Transformer], sentences: list[str]
) -> None:
    """Coarse numbers differ between one forward pass and steps, but less than from those of fp32 and beyond 1."""
    sizes = trained.tokenizer.src_vocab_size, trained.tokenizer.tgt_vocab_size
    single = replace(trained, model=make_model(3, vocab_sizes=sizes, dtype=torch.float32).eval())
    options = single.generation.decode.with_options(length_penalty=0.0)
    pairs = list(zip(sentences[:9], sentences[9:18], strict=True))
    exact, coarse = (
        [each.score for each in Scorer([single], options, precision).score(pairs)]
        for precision in (CPU, Precision(dtype, torch.device("cpu")))
    )
    assert coarse == pytest.approx(exact, rel=0.2)
    assert coarse != pytest.approx(exact, rel=1e-6)
