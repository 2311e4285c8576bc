"""Training tokenizers: the same text gives the same bytes, large texts are sampled evenly, failures are explained."""

import random
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from mtx.config.limits import MAX_VOCAB_SIZE
from mtx.config.settings import TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import MAX_LINE_BYTES, MIN_LINE_BYTES, draw_sample, train_tokenizer

WORDS = ["the", "dog", "cat", "house", "sees", "big", "<s>", "</s>", "<pad>", "<unk>", "with", "red", "happily"]
RNG = random.Random(0)
SRC = [" ".join(RNG.choices(WORDS, k=8)) for _ in range(300)]
TGT = [" ".join(RNG.choices([word.upper() for word in WORDS], k=8)) for _ in range(300)]


def train(log: list[str] | None = None, **settings: Any) -> Tokenizer:
    logged = [] if log is None else log
    return train_tokenizer(SRC, TGT, TokenizerSettings(**{"vocab_size": 310, **settings}), logged.append)


def test_the_same_text_trains_the_same_bytes() -> None:
    assert train().files == train().files
    assert train().files != train(model_type="bpe").files


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_too_large_is_lowered_and_logged(model_type: str) -> None:
    log: list[str] = []
    size = train(log, vocab_size=9000, model_type=model_type).src_vocab_size
    assert size < 9000
    assert log == [f"vocabulary lowered from 9000 to {size}: the corpus has no more pieces"]


def test_a_vocabulary_too_small_is_refused_naming_the_smallest_possible() -> None:
    with pytest.raises(UserError, match=r"vocab_size 50 is smaller than the alphabet .* at least \d+\.") as caught:
        train(vocab_size=50)
    assert caught.value.code == ExitCode.DATA
    smallest = int(re.findall(r"at least (\d+)", str(caught.value))[0])
    assert train(vocab_size=smallest).src_vocab_size == smallest


def test_long_lines_are_skipped_and_counted() -> None:
    log: list[str] = []
    long = "é" * (MAX_LINE_BYTES // 2 + 1)
    settings = TokenizerSettings(vocab_size=310)
    with_long = train_tokenizer([*SRC, long], [*TGT, long], settings, log.append)
    assert log == ["vocabulary trained without 2 lines of more than 16,384 bytes"]
    assert with_long.files == train().files


def test_large_texts_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    seen: list[str] = []
    real = sentencepiece.SentencePieceTrainer.train

    def watch(*, sentence_iterator: Iterator[str], **options: Any) -> None:
        seen.extend(sentence_iterator)
        real(sentence_iterator=iter(seen), **options)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", watch)
    settings = TokenizerSettings(vocab_size=310, sample_megabytes=1)
    first, second = train_tokenizer(SRC * 200, TGT * 200, settings, log.append), [*seen]
    assert 850_000 < sum(len(line.encode()) for line in seen) <= 1_000_000
    assert 0.45 < sum(line in TGT for line in seen) / len(seen) < 0.55
    assert log == [
        f"vocabulary trained on {len(seen):,} lines drawn evenly from 120,000 (tokenizer.sample_megabytes: 1)"
    ]
    seen.clear()
    assert train_tokenizer(SRC * 200, TGT * 200, settings, log.append).files == first.files
    assert seen == second


@given(st.lists(st.integers(0, 100), max_size=400), st.integers(100, 5000))
def test_a_sample_keeps_the_order_and_the_limit(lengths: list[int], max_bytes: int) -> None:
    lines = [f"{number} ".ljust(length, "é") for number, length in enumerate(lengths)]
    sizes = [max(len(line.encode()), MIN_LINE_BYTES) for line in lines]
    sample = draw_sample(iter(lines), max_bytes)
    kept = [int(line.split()[0]) for line in sample.lines]
    assert kept == sorted(set(kept))
    assert [lines[number] for number in kept] == sample.lines
    assert sum(sizes[number] for number in kept) <= max_bytes
    assert (sample.num_read, sample.num_long) == (len(lines), 0)
    if sum(sizes) <= max_bytes:
        assert sample.lines == lines


def test_every_part_of_a_text_is_equally_likely_in_the_sample() -> None:
    """This includes the lines before the limit first fell and after it last fell."""
    lines = [f"{number:099}" for number in range(20_000)]
    kept = [int(line) for line in draw_sample(lines, 200_000).lines]
    assert 1700 <= len(kept) <= 2000
    tenths = [sum(number // 2000 == tenth for number in kept) for tenth in range(10)]
    expected = len(kept) / 10
    assert all(abs(count - expected) < 4 * expected**0.5 for count in tenths), tenths


def test_a_sample_of_short_lines_is_limited_too() -> None:
    assert len(draw_sample([""] * 100_000, 64_000).lines) <= 2000


@pytest.mark.parametrize("lines", [[], [""], ["  ", "\u2028"]])
def test_no_text_is_refused(lines: list[str]) -> None:
    with pytest.raises(UserError, match="the corpus has no text to train a vocabulary on") as caught:
        train_tokenizer(lines, lines, TokenizerSettings(), print)
    assert caught.value.code == ExitCode.DATA


class Signal(BaseException):
    """An exception that a signal handler may raise."""


@pytest.mark.parametrize(
    "error", [UserError(ExitCode.DATA, "not UTF-8", do="Convert it."), Signal(), KeyboardInterrupt()]
)
def test_errors_while_reading_lines_are_passed_on(error: BaseException) -> None:
    def read() -> Iterator[str]:
        yield "text"
        raise error

    with pytest.raises(type(error)) as caught:
        train_tokenizer(read(), [], TokenizerSettings(), print)
    assert caught.value is error


def test_no_python_runs_while_sentencepiece_reads_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """SentencePiece would replace an exception raised there, by a signal handler, with its own error."""
    train, calls, num_taken = sentencepiece.SentencePieceTrainer.train, [], 0

    def watched(*, sentence_iterator: Iterator[str], **options: Any) -> None:
        nonlocal num_taken
        before = sys.getprofile()
        sys.setprofile(lambda frame, event, _: calls.append(frame.f_code) if event == "call" else None)
        lines = [*sentence_iterator]
        sys.setprofile(before)
        num_taken = len(lines)
        train(sentence_iterator=iter(lines), **options)

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", watched)
    train_tokenizer(SRC, TGT, TokenizerSettings(vocab_size=310), print)
    assert (num_taken, calls) == (len(SRC) + len(TGT), [])


def test_lines_with_the_trainers_own_separator_are_used() -> None:
    settings = TokenizerSettings(vocab_size=280)
    marked, plain = (train_tokenizer([f"{line} {end}" for line in SRC], [], settings, print) for end in ("\u2585", ""))
    assert marked.files == plain.files


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_numbers_are_cut_into_digits_in_every_script(model_type: str) -> None:
    numbers = ["1997", "4871", "١٩٩٧", "१९८४", "１９８４"]
    lines = [f"{word} {number} {number}%" for word in WORDS for number in numbers] * 5
    cut, whole = (
        train_tokenizer([], lines, TokenizerSettings(vocab_size=420, model_type=model_type, split_digits=each), print)
        for each in (True, False)
    )
    for number in numbers:
        assert all(sum(map(str.isdigit, piece)) <= 1 for piece in pieces_of(cut, f"the {number}"))
    assert any(sum(map(str.isdigit, piece)) > 1 for piece in pieces_of(whole, "the 1997"))
    assert cut.decode(cut.encode_tgt(lines[:5])) == lines[:5]


def pieces_of(tokenizer: Tokenizer, text: str) -> list[str]:
    pieces = map(tokenizer.tgt_pieces.id_to_piece, tokenizer.encode_tgt([text])[0])
    return [piece for piece in pieces if not piece.startswith("<0x")]


strange = st.sampled_from([*"aab c\t\0\u2581\u2585é日🙂\u2028\x85.\u0300⁇", "<s>", "</s>", "<pad>", "<unk>"])
strange_text = st.lists(strange, max_size=12).map("".join) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)
tokenizer_settings = st.builds(
    TokenizerSettings,
    vocab_size=st.integers(8, 30) | st.integers(8, 400) | st.integers(8, MAX_VOCAB_SIZE),
    model_type=st.sampled_from(["unigram", "bpe"]),
    byte_fallback=st.booleans(),
    character_coverage=st.sampled_from([0.98, 0.999, 1.0]),
    normalization=st.sampled_from(["source", "nmt_nfkc", "nfkc_cf", "identity"]),
)


@given(st.lists(strange_text, max_size=8), tokenizer_settings)
def test_any_corpus_gives_a_tokenizer_or_a_possible_size(lines: list[str], settings: TokenizerSettings) -> None:
    try:
        tokenizer = train_tokenizer(lines, [], settings, lambda _: None)
    except UserError as error:
        if "has no text" in str(error):
            return
        smallest = int(re.findall(r"at least (\d+)\.$", str(error))[0])
        enough = settings.model_copy(update={"vocab_size": smallest})
        tokenizer = train_tokenizer(lines, [], enough, lambda _: None)
    special = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    assert not special & {id_ for ids in tokenizer.encode_src(lines) for id_ in ids}


def test_unknown_errors_of_sentencepiece_become_user_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("INTERNAL: trainer.cc(1)\n[!std::isnan(x)] likelihood is NAN")

    monkeypatch.setattr(sentencepiece.SentencePieceTrainer, "train", fail)
    with pytest.raises(UserError, match=r"vocabulary of 8000 on this corpus: \[.*NAN\. Give more") as caught:
        train_tokenizer(SRC, [], TokenizerSettings(), print)
    assert caught.value.code == ExitCode.DATA
