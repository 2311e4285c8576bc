"""The tokenizer: no text yields a special id, every output is one line, the same text trains the same bytes."""

import io
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from mtx import tokenizer as module
from mtx.config.settings import TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.tokenizer import Tokenizer, ids_of, load_tokenizer, pieces_of, train_tokenizer

WORDS = ["the", "dog", "cat", "house", "sees", "big", "<s>", "</s>", "<pad>", "<unk>", "with", "red", "happily"]
RNG = random.Random(0)
SRC = [" ".join(RNG.choices(WORDS, k=8)) for _ in range(300)]
TGT = [" ".join(RNG.choices([word.upper() for word in WORDS], k=8)) for _ in range(300)]
FRAGMENTS = [
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    "<0x0A>",
    "\u2581",
    "\0",
    "\n",
    "\u2028",
    " ",
    "dog",
    "é",
    "日",
    "🙂",
    "⁇",
]


def train(log: list[str] | None = None, **settings: Any) -> Tokenizer:
    logged = [] if log is None else log
    return train_tokenizer(SRC, TGT, TokenizerSettings(**{"vocab_size": 310, **settings}), logged.append)


VARIANTS = {
    "unigram": train(),
    "bpe": train(model_type="bpe"),
    "separate": train(joint=False, vocab_size=300),
    "no bytes": train(byte_fallback=False, vocab_size=80),
    "as it is": train(normalization="identity"),
}


def pieces_model(**options: Any) -> bytes:
    model = io.BytesIO()
    options = {"vocab_size": 60, "hard_vocab_limit": False, "minloglevel": 2, **options}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(SRC), model_writer=model, **options)
    return model.getvalue()


# --- encode and decode -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
def test_no_text_yields_a_special_id(variant: str, parts: list[str]) -> None:
    tokenizer = VARIANTS[variant]
    forbidden = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    if variant != "no bytes":
        forbidden.add(tokenizer.unk_id)
    for encode in (tokenizer.encode_src, tokenizer.encode_tgt):
        ids = encode(["".join(parts)])[0]
        assert not forbidden & set(ids)


@pytest.mark.parametrize("variant", VARIANTS)
@given(st.data())
def test_any_ids_decode_to_one_valid_line(variant: str, data: st.DataObject) -> None:
    tokenizer = VARIANTS[variant]
    ids = data.draw(st.lists(st.integers(0, tokenizer.tgt_vocab_size - 1), max_size=20))
    (text,) = tokenizer.decode([ids])
    text.encode()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", text)
    assert text == text.strip()


@pytest.mark.parametrize("variant", VARIANTS)
def test_decoding_undoes_encoding_and_ignores_specials(variant: str) -> None:
    tokenizer = VARIANTS[variant]
    framed = [[tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id] for ids in tokenizer.encode_tgt(TGT)]
    assert tokenizer.decode(framed) == TGT
    assert tokenizer.decode([]) == []
    assert tokenizer.decode([[tokenizer.eos_id]]) == [""]


def test_pieces_are_the_ids_in_writing() -> None:
    ids = VARIANTS["unigram"].encode_tgt(["DOG é"])[0]
    pieces = pieces_of(VARIANTS["unigram"], ids)
    assert "".join(pieces) == "▁DOG▁<0xC3><0xA9>"
    assert ids_of(VARIANTS["unigram"], pieces) == ids


def test_bytes_spell_what_has_no_piece() -> None:
    assert VARIANTS["as it is"].decode(VARIANTS["as it is"].encode_tgt(["日本 🙂 <s> ﬁ"])) == ["日本 🙂 <s> ﬁ"]


def test_a_line_break_spelt_in_bytes_becomes_a_space() -> None:
    tokenizer = VARIANTS["unigram"]
    newline, carriage_return = (tokenizer.tgt_pieces.piece_to_id(piece) for piece in ("<0x0A>", "<0x0D>"))
    word = tokenizer.encode_tgt(["DOG"])[0]
    assert tokenizer.decode([[*word, newline, carriage_return, *word, newline]]) == ["DOG   DOG"]


# --- train -----------------------------------------------------------------------------------------------------------


def test_special_ids_and_sides() -> None:
    for name, tokenizer in VARIANTS.items():
        assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2, 3)
        assert tokenizer.is_joint == (name != "separate") == (list(tokenizer.files()) == ["spm.model"])
    assert VARIANTS["unigram"].src_vocab_size == VARIANTS["unigram"].tgt_vocab_size == 310
    one_language = VARIANTS["separate"]
    assert len(one_language.encode_src(["dog"])[0]) < len(one_language.encode_tgt(["dog"])[0])
    assert len(one_language.encode_src(["DOG"])[0]) > len(one_language.encode_tgt(["DOG"])[0])


def test_the_same_text_trains_the_same_bytes() -> None:
    assert train().files() == VARIANTS["unigram"].files()
    assert len({tokenizer.digest for tokenizer in VARIANTS.values()}) == len(VARIANTS)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_a_vocabulary_too_large_is_lowered_with_a_line(model_type: str) -> None:
    log: list[str] = []
    size = train(log, vocab_size=9000, model_type=model_type).src_vocab_size
    assert size < 9000
    assert log == [f"vocabulary lowered from 9000 to {size}: the corpus has no more pieces"]


def test_a_vocabulary_too_small_is_refused_with_the_smallest_possible() -> None:
    with pytest.raises(UserError, match=r"vocab_size 50 is smaller than the alphabet .* at least \d+\.") as caught:
        train(vocab_size=50)
    assert caught.value.code == ExitCode.DATA
    smallest = int(re.findall(r"at least (\d+)", str(caught.value))[0])
    assert train(vocab_size=smallest).src_vocab_size == smallest


def test_lines_left_out_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    long = "é" * (module.MAX_LINE_BYTES // 2 + 1)
    settings = TokenizerSettings(vocab_size=310)
    assert train_tokenizer([*SRC, long], [long, *TGT], settings, log.append).src_vocab_size == 310
    assert log == ["vocabulary trained without 2 lines of more than 16,384 bytes"]
    monkeypatch.setattr(module, "MAX_LINES", 400)
    tokenizer = train_tokenizer(SRC, TGT, settings, log.append)
    assert log[1] == "vocabulary trained on the first 400 lines"
    assert tokenizer.files() == train_tokenizer(SRC[:200], TGT[:200], settings, log.append).files()


@pytest.mark.parametrize("lines", [[], [""], ["  ", "\u2028"]])
def test_no_text_is_refused(lines: list[str]) -> None:
    with pytest.raises(UserError, match="the corpus holds no text to train a vocabulary on") as caught:
        train_tokenizer(lines, lines, TokenizerSettings(), print)
    assert caught.value.code == ExitCode.DATA


def test_an_error_of_the_reader_is_passed_on() -> None:
    def read() -> Iterator[str]:
        yield "text"
        raise UserError(ExitCode.DATA, "not UTF-8", do="Convert it.")

    with pytest.raises(UserError, match="not UTF-8"):
        train_tokenizer(read(), [], TokenizerSettings(), print)


# --- load ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["unigram", "separate"])
def test_what_was_saved_is_loaded_from_model_and_run_folders(variant: str, tmp_path: Path) -> None:
    tokenizer = VARIANTS[variant]
    run_names = {
        "spm.model": "tokenizer.model",
        "source.spm": "tokenizer.src.model",
        "target.spm": "tokenizer.tgt.model",
    }
    for folder, names in (("model", {}), ("run", run_names)):
        (tmp_path / folder).mkdir()
        for name, model in tokenizer.files().items():
            (tmp_path / folder / names.get(name, name)).write_bytes(model)
        loaded = load_tokenizer(tmp_path / folder)
        assert loaded.digest == tokenizer.digest
        assert loaded.encode_tgt(TGT) == tokenizer.encode_tgt(TGT)


def test_a_given_model_is_used_with_its_own_ids(tmp_path: Path) -> None:
    path = tmp_path / "mine.model"
    path.write_bytes(pieces_model(pad_id=3, unk_id=0, bos_id=1, eos_id=2))
    tokenizer = train(file=path)
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (3, 0, 1, 2)


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("other", b"", "no tokenizer at "),
        ("spm.model", b"", "no SentencePiece model, or is damaged"),
        ("spm.model", b"\xff" * 100, "no SentencePiece model, or is damaged"),
        ("spm.model", VARIANTS["bpe"].src_model[:-9], "no SentencePiece model, or is damaged"),
        (
            "spm.model",
            VARIANTS["bpe"].src_model.replace(b"<0x41>", b"<0x4\xff>"),
            "no SentencePiece model, or is damaged",
        ),
        ("spm.model", bytes(2 << 20), "larger than 1,048,576 bytes"),
        ("source.spm", VARIANTS["bpe"].src_model, "target.spm is missing"),
        ("spm.model", pieces_model(), "has no pad symbol"),
        ("spm.model", pieces_model(pad_id=3, eos_id=-1), "has no eos symbol"),
        ("spm.model", pieces_model(pad_id=3, user_defined_symbols="<s>"), "has no bos symbol"),
    ],
)
def test_an_unusable_model_is_refused(
    name: str, model: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_MODEL_BYTES", 1 << 20)
    (tmp_path / name).write_bytes(model)
    with pytest.raises(UserError, match=message) as caught:
        load_tokenizer(tmp_path)
    assert caught.value.code == ExitCode.MODEL


def test_a_damaged_model_is_refused_or_works() -> None:
    rng = random.Random(1)
    whole = VARIANTS["unigram"].src_model
    num_refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        try:
            tokenizer = Tokenizer.from_files({"spm.model": bytes(damaged)})
            tokenizer.decode(tokenizer.encode_tgt(["DOG é\0 <s>"]))
        except UserError:
            num_refused += 1
    assert 0 < num_refused < 200
