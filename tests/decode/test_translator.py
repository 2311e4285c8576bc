"""The translator gives one translation for each line, whatever it contains and whatever other lines there are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Self

import pytest
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.beam import beam_search
from mtx.decode.translator import BATCHES_BETWEEN_TRIMS, MIN_TOKENS, Translator
from mtx.system.device import choose_precision
from mtx.text.segments import cut_to_fit
from mtx.text.sentences import split_sentences
from mtx.text.tokenizer import Tokenizer

LONG = "The dog never sees the cat. A child finds the big red house near the man and the red dog never hears"


@pytest.fixture
def make_translator(trained: TrainedModel) -> Callable[..., Translator]:
    """A translator of the tiny float64 model; beam 2 by default."""

    def make_translator(
        *, beam_size: int = 2, batch_tokens: int = 500, n_best: int = 1, splits_long: bool = True, split: str = "auto"
    ) -> Translator:
        options = trained.generation.decode.with_options(
            beam_size=beam_size,
            batch_tokens=batch_tokens,
            n_best=n_best,
            splits_long=splits_long,
            split=split,
            avoids_loops=False,  # which an untrained model writes all the time
            copy_unlettered=False,
        )
        return Translator(trained, options, choose_precision("fp32", torch.device("cpu")))

    return make_translator


def texts(translator: Translator, lines: Sequence[str]) -> list[str]:
    return [translation.tgt for translation in translator.translate(lines)]


def test_each_line_gets_one_translation_in_order(
    make_translator: Callable[..., Translator], sentences: list[str]
) -> None:
    lines = [sentences[0], "", sentences[1], " \t ", LONG, "\u3000", sentences[2], "日本語 🙂", sentences[0]]
    translations = make_translator().translate(lines)
    assert [translation.src for translation in translations] == lines
    for translation in translations:
        candidate = translation.nbest[0]
        assert "\n" not in translation.tgt
        if not translation.src.strip():
            assert (candidate.tgt, candidate.score, translation.num_tokens) == (translation.src, 0.0, 0)
        else:
            assert candidate.score < 0 < translation.num_tokens
    assert translations[0] == translations[-1]
    assert make_translator().translate([]) == []
    assert len({translation.tgt for translation in translations}) > 4, "the model reacts to its input"


@pytest.mark.slow
@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_translation_does_not_depend_on_other_lines(
    beam_size: int, make_translator: Callable[..., Translator], sentences: list[str]
) -> None:
    alone = [make_translator(beam_size=beam_size).translate([line])[0].tgt for line in sentences]
    assert len(set(alone)) > 15
    for batch_tokens in (1, 30, 200, 100_000):
        assert texts(make_translator(beam_size=beam_size, batch_tokens=batch_tokens), sentences) == alone, batch_tokens
    order = [index * 7 % len(sentences) for index in range(len(sentences))]
    shuffled = texts(make_translator(beam_size=beam_size), [sentences[index] for index in order])
    assert shuffled == [alone[index] for index in order]
    beside_long = texts(make_translator(beam_size=beam_size, batch_tokens=100_000), [LONG * 3, *sentences])
    assert beside_long[1:] == alone


def test_batches_stay_within_their_tokens(
    make_translator: Callable[..., Translator], sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # no workers: their calls would not be seen
    translator = make_translator(beam_size=3, batch_tokens=240)
    shapes: list[tuple[int, int]] = []
    start = type(translator.model).start

    def noting_start(model, src_ids, src_mask):  # type: ignore[no-untyped-def]
        shapes.append(tuple(src_ids.shape))
        assert src_mask.any(dim=0).all(), "a column of nothing but padding"
        return start(model, src_ids, src_mask)

    monkeypatch.setattr(type(translator.model), "start", noting_start)
    translator.translate(sentences)
    assert all(count * max(length, MIN_TOKENS) * 3 <= 240 or count == 1 for count, length in shapes)
    assert max(count for count, _ in shapes) > 3
    shapes.clear()
    translator.translate([sentence.split()[0] for sentence in sentences])
    assert max(length for _, length in shapes) < MIN_TOKENS
    assert max(count for count, _ in shapes) == 240 // (3 * MIN_TOKENS)
    shapes.clear()
    translator.translate([" ".join(sentence.split()[: 1 + i % 3]) for i, sentence in enumerate(sentences)])
    lengths = [length for _, length in shapes]  # sorted by true length, though all count the same
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < lengths[0]


@pytest.mark.slow
def test_freed_memory_is_returned_from_time_to_time(
    make_translator: Callable[..., Translator], sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are counted across calls."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # no workers: their calls would not be seen
    trimmed_after: list[int] = []
    monkeypatch.setattr("mtx.decode.translator.trim_malloc", lambda: trimmed_after.append(num_batches))
    translator = make_translator(batch_tokens=1)
    for num_batches in range(1, 2 * BATCHES_BETWEEN_TRIMS + 2):
        translator.translate([sentences[num_batches % 50].split()[0]])
    assert trimmed_after == [BATCHES_BETWEEN_TRIMS, 2 * BATCHES_BETWEEN_TRIMS]


def test_a_long_line_is_translated_in_parts(make_translator: Callable[..., Translator], trained: TrainedModel) -> None:
    translator, tokenizer = make_translator(), trained.tokenizer
    limit = trained.generation.max_source_tokens - 1
    parts = [
        segment.strip()
        for sentence in split_sentences(LONG, "en")
        for segment in cut_to_fit(sentence, "en", lambda text: len(tokenizer.encode_src([text])[0]), limit)
    ]
    assert len(parts) > 3
    assert all(len(ids) <= limit for ids in tokenizer.encode_src(parts))
    whole, *of_parts = translator.translate([LONG, *parts])
    assert whole.tgt == " ".join(part.tgt for part in of_parts if part.tgt)
    assert whole.num_tokens == sum(part.num_tokens for part in of_parts)
    assert whole.nbest[0].score == pytest.approx(fmean(part.nbest[0].score for part in of_parts))
    for part in parts:
        without = translator.translate([LONG.replace(part, "").strip()])[0]
        assert without.tgt != whole.tgt, part


@dataclass(frozen=True, slots=True)
class Copied:
    """State of `Copier`: the sources, and the number of their tokens repeated so far."""

    src_ids: Tensor
    length: int = 0

    def select(self, rows_R: Tensor, sentences_B: Tensor) -> Self:
        return replace(self, src_ids=self.src_ids[rows_R])


@dataclass(frozen=True, slots=True)
class Copier:
    """A model that repeats the source and, if `ends_by_itself`, ends where the source ends."""

    vocab_size: int
    ends_by_itself: bool = True

    def start(self, src_ids: Tensor, src_mask: Tensor) -> Copied:
        return Copied(src_ids)

    def step(self, prev_ids: Tensor, state: Copied) -> tuple[Tensor, Copied]:
        places = state.src_ids[:, min(state.length, state.src_ids.size(1) - 1)]
        logits_RV = torch.zeros(len(prev_ids), self.vocab_size).scatter(1, places[:, None], 50.0)
        if not self.ends_by_itself:
            logits_RV[:, 3] = -torch.inf
        return logits_RV, replace(state, length=state.length + 1)


@pytest.fixture
def count_encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of characters of everything that is encoded as a source from now on."""
    counts: list[int] = []
    encode = Tokenizer.encode_src

    def encode_src(self: Tokenizer, sentences: Sequence[str]) -> list[list[int]]:
        counts.extend(map(len, sentences))
        return encode(self, sentences)

    monkeypatch.setattr(Tokenizer, "encode_src", encode_src)
    return counts


@pytest.mark.parametrize("beam_size", [1, 2])
def test_every_sentence_of_a_long_line_is_translated_in_order(
    beam_size: int, make_translator: Callable[..., Translator], sentences: list[str], count_encoded: list[int]
) -> None:
    """With 10,000 and 20,000 tokens and a model that repeats its input: twice the tokens take twice the work."""
    translator = make_translator(beam_size=beam_size, batch_tokens=5000)
    tokenizer = translator.trained.tokenizer
    translator.model = Copier(tokenizer.tgt_vocab_size)
    num_tokens = sum(map(len, tokenizer.encode_src(sentences)))
    work = []
    for wanted in (10_000, 20_000):
        line = " ".join(sentences * (wanted // num_tokens + 1))
        assert len(tokenizer.encode_src([line])[0]) >= wanted
        count_encoded.clear()
        done: list[int] = []
        (translation,) = translator.translate([line], done.append)
        assert translation.tgt == line
        assert translation.num_left_out == 0
        work.append((len(line), sum(count_encoded), sum(done)))
    for once, twice in zip(*work, strict=True):
        assert 1.8 < twice / once < 2.2
    assert work[0][1] < 5 * work[0][0], "each character is encoded a few times"


HARD = {
    "a word": "dog " * 5000,
    "a word without spaces": "dog" * 1500,
    "digits": "0123456789" * 400,
    "a url": "https://example.org/a?b=c&d=" + "%E2%96%81/" * 400,
    "spaces": (" " * 1000 + "dog") * 20,
    "ends of sentences": ".)" * 2000,
    "brackets": "(" * 10_000,
}


@pytest.mark.parametrize("text", HARD)
@pytest.mark.parametrize("beam_size", [1, 2])
def test_hard_text_ends_within_the_bound(
    text: str, beam_size: int, make_translator: Callable[..., Translator], count_encoded: list[int]
) -> None:
    """Even with a model that never ends by itself; twice the text takes about twice the work."""
    translator = make_translator(beam_size=beam_size, batch_tokens=5000)
    translator.model = Copier(translator.trained.tokenizer.tgt_vocab_size, ends_by_itself=False)
    work = []
    for times in (1, 2):
        count_encoded.clear()
        (translation,) = translator.translate([HARD[text] * times])
        lengths = [len(segment.ids) + 1 for segment in translator.segmenter.segments([HARD[text] * times])]
        assert max(lengths) <= translator.trained.generation.max_source_tokens
        assert translation.num_tokens == sum(length + translator.options.max_length_extra for length in lengths)
        work.append(sum(count_encoded))
    assert work[1] / work[0] < 2.5


def test_what_is_too_long_can_be_cut_off(make_translator: Callable[..., Translator], sentences: list[str]) -> None:
    """Each sentence by itself, or the whole line if lines are not split."""
    whole, cut = make_translator(), make_translator(splits_long=False)
    line_cut = make_translator(splits_long=False, split="never")
    limit, tokenizer = cut.trained.generation.max_source_tokens - 1, cut.trained.tokenizer
    cut.model = line_cut.model = Copier(tokenizer.tgt_vocab_size)
    (line,), (translation,) = line_cut.translate([LONG]), cut.translate([LONG])
    ids, *of_sentences = tokenizer.encode_src([LONG, *split_sentences(LONG, "en")])
    assert line.tgt == tokenizer.decode([ids[:limit]])[0]
    assert line.num_left_out == len(ids) - limit > 10
    assert translation.tgt == " ".join(text.strip() for text in tokenizer.decode([ids[:limit] for ids in of_sentences]))
    assert translation.num_left_out == sum(max(0, len(ids) - limit) for ids in of_sentences) < line.num_left_out
    short = [line for line in sentences if len(tokenizer.encode_src([line])[0]) <= limit]
    cut.model = whole.model
    assert len(short) > 10
    assert cut.translate(short) == whole.translate(short)


def test_nbest(make_translator: Callable[..., Translator], sentences: list[str]) -> None:
    translator = make_translator(beam_size=4, n_best=3)
    long_lines = [" ".join(sentences[index : index + 4]) for index in range(0, 40, 2)]
    translations = translator.translate([*sentences, *long_lines])
    for translation in translations:
        scores = [candidate.score for candidate in translation.nbest]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
    only_best = texts(make_translator(beam_size=4), [*sentences, *long_lines])
    assert [translation.tgt for translation in translations] == only_best
    assert len(make_translator(beam_size=4).translate([""])[0].nbest) == 1


def test_texts_and_scores_come_from_the_search(
    make_translator: Callable[..., Translator], trained: TrainedModel, sentences: list[str]
) -> None:
    options = trained.generation.decode.with_options(beam_size=4, n_best=2)
    symbols = {"bos_id": trained.tokenizer.bos_id, "eos_id": trained.tokenizer.eos_id}
    line = next(line for line in sentences if 5 < len(trained.tokenizer.encode_src([line])[0]) < 12)
    ids = [*trained.tokenizer.encode_src([line])[0], trained.tokenizer.eos_id]
    with torch.inference_mode():
        src = torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool)
        found = beam_search(trained.model, *src, options, **symbols)[0]
    translation = make_translator(beam_size=4, n_best=2).translate([line])[0]
    assert [candidate.tgt for candidate in translation.nbest] == trained.tokenizer.decode([h.ids for h in found])
    assert [candidate.score for candidate in translation.nbest] == pytest.approx([h.score for h in found], abs=1e-6)
    assert translation.num_tokens == len(found[0].ids) + 1


def test_after_every_batch(make_translator: Callable[..., Translator], sentences: list[str]) -> None:
    counts: list[int] = []
    lines = ["", *sentences[:20]]
    translator = make_translator(batch_tokens=60)
    translator.translate(lines, counts.append)
    num_segments = len(translator.segmenter.segments(lines))
    assert sum(counts) == num_segments >= 20
    assert len(counts) > 3

    seen: list[int] = []

    def stop(count: int) -> None:
        seen.append(count)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        translator.translate(lines, stop)
    assert seen == counts[:1]


def test_no_beam_is_wider_than_the_vocabulary(
    make_translator: Callable[..., Translator], trained: TrainedModel
) -> None:
    translator = make_translator(beam_size=1000, n_best=1000)
    size = trained.tokenizer.tgt_vocab_size
    assert (translator.options.beam_size, translator.options.n_best) == (size, size)
    assert len(translator.translate(["a cat"])[0].nbest) == size


def test_parts_are_joined_without_spaces_in_languages_that_use_none(
    make_translator: Callable[..., Translator], trained: TrainedModel
) -> None:
    translator = make_translator()
    spaced = translator.translate([LONG])[0].tgt
    translator.trained = replace(trained, tgt_lang="zh")
    translator.set_tag(None)
    assert translator.translate([LONG])[0].tgt.replace(" ", "") == spaced.replace(" ", "")
    assert translator.translate([LONG])[0].tgt.count(" ") < spaced.count(" ")


@pytest.mark.parametrize(
    "line",
    [
        "1",
        "102",
        "-",
        "...",
        "6171-1231",
        "\u00ad",
        "½",
        "25 %",
        "10:30",
        " 5 \t",
        "🙂",
        "١٢٣",
        "。",
        "1.º",
        "€ 5",
        "-\u200d-",
    ],
)
def test_a_line_without_a_letter_is_copied(line: str, trained: TrainedModel) -> None:
    options = trained.generation.decode.with_options(beam_size=1)
    (copied,) = Translator(trained, options, choose_precision("fp32", torch.device("cpu"))).translate([line])
    assert (copied.tgt, copied.nbest[0].score, copied.num_tokens) == (line, 0.0, 0)
    translated = options.model_copy(update={"copy_unlettered": False})
    (other,) = Translator(trained, translated, choose_precision("fp32", torch.device("cpu"))).translate([line])
    assert other.num_tokens > 0 or line == "\u00ad"  # of which nothing is left


@pytest.mark.parametrize("line", ["5 a", "x", "二", "A1", "é", "ก", "5 µ"])
def test_a_line_with_a_letter_is_translated(line: str, trained: TrainedModel) -> None:
    options = trained.generation.decode.with_options(beam_size=1)
    (found,) = Translator(trained, options, choose_precision("fp32", torch.device("cpu"))).translate([line])
    assert found.num_tokens > 0
