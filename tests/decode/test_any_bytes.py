"""Any bytes: n lines give n translations, each one line of valid UTF-8, and no text becomes a control symbol."""

import dataclasses
import io
import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.settings import TokenizerSettings
from mtx.data.sources.text import FORMATS, stream_lines
from mtx.decode.search import Hypothesis
from mtx.decode.translator import Translator
from mtx.model import Transformer
from mtx.system.device import Precision
from mtx.text.train_tokenizer import train_tokenizer

CPU = Precision(torch.float32, torch.device("cpu"))
BREAKS_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

pieces = st.sampled_from(
    [b"\n", b"\r\n", b"\xff", b"\xe2\x80", b"</s>", b"<pad>", b"<2fr>", b"<0x0A>", b"\0", b"\x1b[2J", b" ", b"dog "]
    + [text.encode() for text in ("\u2581", "\u2585", "\u2028", "\u3000", "\u202e", "😀", "e\u0301", "日本")]
)
any_bytes = st.lists(pieces | st.binary(max_size=8) | st.text(max_size=5).map(lambda t: t.encode("utf-8", "replace")))


@pytest.fixture(scope="module")
def with_spaces(make_model: Callable[..., Transformer], trained: TrainedModel, sentences: list[str]) -> TrainedModel:
    """A model whose tokenizer changes no character, has ids for white space, and spells rare characters as bytes."""
    settings = TokenizerSettings(vocab_size=320, normalization="identity")
    tokenizer = train_tokenizer(sentences, sentences, settings, lambda line: None)
    model = make_model(3, vocab_sizes=(tokenizer.src_vocab_size, tokenizer.tgt_vocab_size)).eval()
    return dataclasses.replace(trained, model=model, tokenizer=tokenizer)


@pytest.fixture(scope="module", params=["trained", "with_spaces"])
def translator(request: pytest.FixtureRequest) -> Translator:
    trained: TrainedModel = request.getfixturevalue(request.param)
    return Translator(trained, trained.generation.decode.with_options(beam_size=1, batch_tokens=1000), CPU)


def is_plain(raw: bytes) -> bool:
    """Whether the first bytes mark neither a packed file nor UTF-16."""
    return not raw.startswith((*FORMATS, b"\xff\xfe", b"\xfe\xff"))


@pytest.mark.slow
@given(any_bytes.map(b"".join).filter(is_plain))
def test_any_bytes_give_one_translation_per_line(translator: Translator, raw: bytes) -> None:
    stream = io.BytesIO(raw)
    groups = stream_lines(stream, "stdin", repair=lambda line, _: line.decode("utf-8", "replace"))
    lines = [line for group in groups for line in group]
    body = raw.removeprefix(b"\xef\xbb\xbf")
    assert len(lines) == body.count(b"\n") + (body[-1:] not in (b"", b"\n"))
    translations = translator.translate(lines)
    assert [translation.src for translation in translations] == lines
    for line, translation in zip(lines, translations, strict=True):
        assert not BREAKS_LINE.search(translation.tgt.replace("\t", " "))
        assert translation.tgt.encode().decode() == translation.tgt
        assert line.strip() or translation.num_tokens == 0


@given(any_bytes.map(lambda parts: b"".join(parts).decode("utf-8", "replace")))
def test_no_text_yields_a_control_symbol(translator: Translator, text: str) -> None:
    tokenizer = translator.trained.tokenizer
    for ids in tokenizer.encode_src([text, text * 3]):
        assert not any(tokenizer.src_pieces.is_control(id_) for id_ in ids)


def test_white_space_never_reaches_the_model(with_spaces: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = Translator(
        with_spaces, with_spaces.generation.decode.with_options(beam_size=1, batch_tokens=1000), CPU
    )
    asked: list[list[int]] = []

    def search(sentences: list[list[int]]) -> list[list[Hypothesis]]:
        asked.extend(sentences)
        return [[Hypothesis(ids=[], logp=0.0, score=0.0)] for _ in sentences]

    monkeypatch.setattr(translator, "_search", search)
    spaces = ["", " ", "\t", "\u3000", "\u2028 \x0c", " " * 500]
    assert any(with_spaces.tokenizer.encode_src(spaces))
    shown = ["", " ", "\t", "\u3000", "   ", " " * 500]
    assert [translation.tgt for translation in translator.translate(spaces)] == shown
    assert asked == []
    assert len(translator.translate(["dog", "\t"])) == 2
    assert len(asked) == 1
