"""Any text: none of it becomes a control symbol, and the work grows in proportion to its length."""

import io
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.translator import Translator
from mtx.model import Transformer
from mtx.system.device import Precision
from mtx.text.tokenizer import Tokenizer

CONTROLS = ["<2de>", "<2fr>", "[MASK]"]
SPECIALS = [*CONTROLS, "<s>", "</s>", "<pad>", "<unk>", "<sep>", "<0x0A>", "\u2581", "\u2581<2de>"]


@pytest.fixture(scope="module")
def foreign() -> Tokenizer:
    """A tokenizer from another toolkit: control symbols for languages, a user-defined symbol, other ids."""
    draw = random.Random(0)
    words = ["the", "dog", "2de", "<2", "de>", "</", "s>", "pad", "MASK", "]", "sees"]
    lines = [" ".join(draw.choices(words, k=8)) for _ in range(300)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=330, hard_vocab_limit=False, byte_fallback=True,
        control_symbols=CONTROLS, user_defined_symbols=["<sep>"], pad_id=4, unk_id=0, bos_id=2, eos_id=1, minloglevel=2,
    )  # fmt: skip
    return Tokenizer.from_files({"spm.model": model.getvalue()})


@pytest.fixture(scope="module")
def translator(foreign: Tokenizer, make_model: Callable[..., Transformer], trained: TrainedModel) -> Translator:
    model = make_model(3, vocab_sizes=(foreign.src_vocab_size, foreign.tgt_vocab_size)).eval()
    own = replace(trained, model=model, tokenizer=foreign)
    precision = Precision(torch.float32, torch.device("cpu"))
    return Translator(own, own.generation.decode.with_options(beam_size=1, batch_tokens=64), precision)


texts = st.lists(st.sampled_from(SPECIALS) | st.text(st.characters(exclude_categories=["Cs"])), max_size=12).map(
    "".join
)


def is_special(tokenizer: Tokenizer, id_: int) -> bool:
    pieces = tokenizer.src_pieces
    return bool(pieces.is_control(id_) or pieces.is_unused(id_) or id_ == pieces.unk_id())


def test_the_foreign_tokenizer_has_symbols_that_text_could_imitate(foreign: Tokenizer) -> None:
    pieces = foreign.src_pieces
    assert all(pieces.is_control(pieces.piece_to_id(symbol)) for symbol in [*CONTROLS, "<s>", "</s>"])
    assert pieces.piece_to_id("<sep>") in foreign.encode_src(["dog <sep> dog"])[0]  # it stands for itself


@given(text=texts)
@settings(deadline=None)
def test_no_text_gives_a_control_symbol_to_the_model(text: str, foreign: Tokenizer, translator: Translator) -> None:
    segments = translator.segmenter.segments([text, text * 5])
    ids = [*foreign.encode_src([text])[0], *foreign.encode_tgt([text])[0], *(i for part in segments for i in part.ids)]
    assert not any(is_special(foreign, id_) for id_ in ids)


# Texts that could slow down regular expressions and halving, without a good place to cut near the middle.
REPEATED = ["a", "(", " ", ".", ".)", ".))) ", "。", "。」", "a ", '."', "\u3000", "!?"]


@pytest.mark.slow
@pytest.mark.parametrize("unit", [*REPEATED, "front"])
def test_work_grows_with_the_length_of_a_line(unit: str) -> None:
    from mtx.text.segments import cut_to_fit

    def work(length: int) -> int:
        counted = 0

        def count_tokens(text: str) -> int:
            nonlocal counted
            counted += len(text)
            return len(text) // 2

        text = "a " * (length // 100) + "b" * length if unit == "front" else unit * (length // len(unit))
        parts = cut_to_fit(text, "en", count_tokens, 40)
        assert sum(len(part.replace(" ", "")) for part in parts) <= len(text)
        return counted

    half, whole = work(500_000), work(1_000_000)
    assert whole <= 2.5 * half
    assert whole < 40 * 1_000_000  # as often as it can be halved


@pytest.mark.parametrize("unit", REPEATED)
def test_a_long_line_is_encoded_as_often_as_it_can_be_halved(
    unit: str, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = 0
    real = Tokenizer.encode_src

    def encode(self: Tokenizer, sentences: Any) -> list[list[int]]:
        nonlocal counted
        counted += sum(map(len, sentences))
        return real(self, sentences)

    monkeypatch.setattr(Tokenizer, "encode_src", encode)
    work = []
    for length in (5_000, 10_000):
        counted = 0
        translator.segmenter.segments([unit * (length // len(unit))])
        work.append(counted)
    assert work[1] <= 2.5 * work[0]
