"""The tokenizer: no text yields a special id, every output is one line, the same text trains the same bytes."""

import io
import random
import re
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from hypothesis import example, given
from hypothesis import strategies as st

from mtx.config.settings import TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.text import tokenizer as module
from mtx.text.normalization import fold
from mtx.text.tokenizer import Tokenizer, load_tokenizer
from mtx.text.train_tokenizer import train_tokenizer

BREAKS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # Characters that break a line, without tabs
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
    "\ufdd0",
    "\ufdd0_",
    "ﬁ",
    "e\u0301",
    "\u3000",
]


def train(log: list[str] | None = None, **settings: Any) -> Tokenizer:
    logged = [] if log is None else log
    return train_tokenizer(SRC, TGT, TokenizerSettings(**{"vocab_size": 310, **settings}), logged.append)


VARIANTS = {
    "unigram": train(),
    "bpe": train(model_type="bpe"),
    "separate": train(joint=False, vocab_size=300),
    "no bytes": train(byte_fallback=False, vocab_size=80),
    "nmt_nfkc": train(normalization="nmt_nfkc"),
    "as it is": train(normalization="identity"),
    "nfkc": train(normalization="nfkc"),
    "lossless": train(normalization="lossless"),
    "no bytes nfkc": train(normalization="nfkc", byte_fallback=False, vocab_size=80),
    "separate lossless": train(normalization="lossless", model_type="bpe", joint=False),
}
LOSSLESS = ["lossless", "separate lossless"]
FOR_SOURCE = ["unigram", "bpe", "separate"]  # whose normalization is for the source only
NORMALIZING = ["nmt_nfkc", "as it is", "nfkc"]
ANY_TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(exclude_categories=["Cs"])), max_size=8).map(
    "".join
)


def pieces_model(**options: Any) -> bytes:
    model = io.BytesIO()
    options = {"vocab_size": 60, "hard_vocab_limit": False, "minloglevel": 2, **options}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(SRC), model_writer=model, **options)
    return model.getvalue()


# --- encode and decode -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@given(ANY_TEXT)
def test_no_text_yields_a_special_id(variant: str, text: str) -> None:
    tokenizer = VARIANTS[variant]
    forbidden = {tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id}
    if "no bytes" not in variant:
        forbidden.add(tokenizer.unk_id)
    for encode in (tokenizer.encode_src, tokenizer.encode_tgt):
        ids = encode([text])[0]
        assert not forbidden & set(ids)


@pytest.mark.parametrize("variant", VARIANTS)
@given(st.data())
def test_any_ids_decode_to_one_valid_line(variant: str, data: st.DataObject) -> None:
    tokenizer = VARIANTS[variant]
    ids = data.draw(st.lists(st.integers(0, tokenizer.tgt_vocab_size - 1), max_size=20))
    (text,) = tokenizer.decode([ids])
    text.encode()
    if variant in LOSSLESS:
        assert "\n" not in text
    elif VARIANTS[variant].folds_source_only:
        assert not BREAKS.search(text)
        assert text == text.strip()
    else:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", text)
        assert text == text.strip()


@pytest.mark.parametrize("variant", VARIANTS)
def test_decoding_undoes_encoding_and_ignores_specials(variant: str) -> None:
    tokenizer = VARIANTS[variant]
    framed = [[tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id] for ids in tokenizer.encode_tgt(TGT)]
    assert tokenizer.decode(framed) == TGT
    assert tokenizer.decode([]) == []
    assert tokenizer.decode([[tokenizer.eos_id]]) == [""]


@pytest.mark.parametrize("variant", FOR_SOURCE)
@given(ANY_TEXT)
@example("dog\u2581\u2581dog \ufdd0_ \u2585 a  b\tc")
@example("１½ cups, 10⁶, 2³ = 8, 25 m², ﬁ e\u0301 می\u200cخواهم, Vraiment\u202f? «\u00a0oui\u00a0», ，？！：；（）")
def test_a_target_comes_back_as_it_was(variant: str, text: str) -> None:
    tokenizer = VARIANTS[variant]
    assert tokenizer.decode(tokenizer.encode_tgt([text])) == [BREAKS.sub(" ", text.strip()).strip()]


@pytest.mark.parametrize("variant", FOR_SOURCE)
@given(ANY_TEXT)
def test_a_source_has_the_ids_of_its_folded_text(variant: str, text: str) -> None:
    tokenizer = VARIANTS[variant]
    assert tokenizer.encode_src([text]) == tokenizer.encode_src([fold(text.replace("\u2581", " "))])


def test_a_model_that_folds_sources_is_one_file_that_other_programs_use_alike() -> None:
    tokenizer = VARIANTS["unigram"]
    other = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.files["spm.model"])
    for text in ("ﬁne ｄｏｇ\u00a0e\u0301", "the dog  sees"):
        assert tokenizer.encode_src([text]) == [other.encode(text)] == [other.encode(fold(text))]
    ids = tokenizer.encode_tgt(["Ein ½ ﬁ"])
    assert tokenizer.decode(ids) == other.decode(ids) == ["Ein ½ ﬁ"]


@pytest.mark.parametrize("variant", NORMALIZING)
@given(ANY_TEXT)
@example("dog\u2581\u2581dog")
@example("dog \1 dog")
def test_decoding_gives_the_normalized_text_on_one_line(variant: str, text: str) -> None:
    tokenizer = VARIANTS[variant]
    assert not tokenizer.is_lossless
    (back,) = tokenizer.decode(tokenizer.encode_tgt([text]))
    normalised = tokenizer.tgt_pieces.normalize(text.replace("\u2581", " ")).replace("\u2581", " ")
    if re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", normalised):
        normalised = re.sub("[ \x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", normalised)
    assert back == normalised.strip()
    assert tokenizer.decode(tokenizer.encode_tgt([back])) == [back]


@pytest.mark.slow
def test_a_lossless_model_gives_back_every_character() -> None:
    """Each character alone, and inside a word of a line."""
    tokenizer = VARIANTS["lossless"]
    scalars = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code != ord("\n")]
    assert len(scalars) == 1_112_064 - 1
    for start in range(0, len(scalars), 50_000):
        some = scalars[start : start + 50_000]
        lines = [" ".join(f"a{scalar}b" for scalar in some[i : i + 100]) for i in range(0, len(some), 100)]
        for texts in (some, lines):
            assert tokenizer.decode(tokenizer.encode_tgt(texts)) == texts
    assert tokenizer.decode(tokenizer.encode_tgt(["\n", "a\nb"])) == [" ", "a b"]


@pytest.mark.parametrize("variant", LOSSLESS)
@given(ANY_TEXT, st.text("  \u2581\ufdd0_.ab\r\t\0\u3000", max_size=12))
def test_a_lossless_model_gives_back_every_text(variant: str, text: str, spaces: str) -> None:
    tokenizer = VARIANTS[variant]
    texts = [text, spaces, spaces + text + spaces]
    wanted = [text.replace("\n", " ") for text in texts]
    assert tokenizer.decode(tokenizer.encode_tgt(texts)) == wanted
    if tokenizer.is_joint:
        assert tokenizer.decode(tokenizer.encode_src(texts)) == wanted


def test_a_lossless_model_is_recognized_by_its_behaviour() -> None:
    """The model file alone decides, so no folder needs to record it."""
    for variant, tokenizer in VARIANTS.items():
        assert Tokenizer.from_files(tokenizer.files).is_lossless == (variant in LOSSLESS)
    mixed = {
        "source.spm": VARIANTS["lossless"].files["spm.model"],
        "target.spm": VARIANTS["unigram"].files["spm.model"],
    }
    assert not Tokenizer.from_files(mixed).is_lossless


def test_no_piece_of_a_lossless_model_breaks_a_line() -> None:
    corpus = ["a\rb\u2028c \x85\u2581 \ufdd0 d\te\0"] * 20
    tokenizer = train_tokenizer(corpus, [], TokenizerSettings(vocab_size=310, normalization="lossless"), print)
    for text in corpus:
        (ids,) = tokenizer.encode_src([text])
        pieces = tokenizer.src_pieces.id_to_piece(ids)
        assert not re.search("[ \x00-\x1f\x7f-\x9f\u2028\u2029]", "".join(pieces))
        assert tokenizer.decode([tokenizer.tgt_pieces.piece_to_id(pieces)]) == [text]


def test_pieces_correspond_to_ids() -> None:
    ids = VARIANTS["unigram"].encode_tgt(["DOG é"])[0]
    pieces = VARIANTS["unigram"].tgt_pieces.id_to_piece(ids)
    assert "".join(pieces) == "▁DOG▁<0xC3><0xA9>"
    assert VARIANTS["unigram"].tgt_pieces.piece_to_id(pieces) == ids


def test_characters_without_a_piece_become_bytes() -> None:
    assert VARIANTS["as it is"].decode(VARIANTS["as it is"].encode_tgt(["日本 🙂 <s> ﬁ"])) == ["日本 🙂 <s> ﬁ"]


def test_a_line_break_in_bytes_becomes_a_space() -> None:
    tokenizer = VARIANTS["nmt_nfkc"]
    newline, carriage_return = (tokenizer.tgt_pieces.piece_to_id(piece) for piece in ("<0x0A>", "<0x0D>"))
    word = tokenizer.encode_tgt(["DOG"])[0]
    assert tokenizer.decode([[*word, newline, carriage_return, *word, newline]]) == ["DOG DOG"]


def test_special_ids_and_sides() -> None:
    for name, tokenizer in VARIANTS.items():
        assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2, 3)
        assert tokenizer.is_joint == (not name.startswith("separate")) == (list(tokenizer.files) == ["spm.model"])
    assert VARIANTS["unigram"].src_vocab_size == VARIANTS["unigram"].tgt_vocab_size == 310
    one_language = VARIANTS["separate"]
    assert len(one_language.encode_src(["dog"])[0]) < len(one_language.encode_tgt(["dog"])[0])
    assert len(one_language.encode_src(["DOG"])[0]) > len(one_language.encode_tgt(["DOG"])[0])


# --- load ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["unigram", "separate"])
def test_saved_tokenizers_are_loaded_from_model_and_run_folders(variant: str, tmp_path: Path) -> None:
    tokenizer = VARIANTS[variant]
    run_names = {
        "spm.model": "tokenizer.model",
        "source.spm": "tokenizer.src.model",
        "target.spm": "tokenizer.tgt.model",
    }
    for folder, names in (("model", {}), ("run", run_names)):
        (tmp_path / folder).mkdir()
        for name, model in tokenizer.files.items():
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
        ("spm.model", b"", "not a SentencePiece model, or is damaged"),
        ("spm.model", b"\xff" * 100, "not a SentencePiece model, or is damaged"),
        ("spm.model", VARIANTS["bpe"].files["spm.model"][:-9], "not a SentencePiece model, or is damaged"),
        (
            "spm.model",
            VARIANTS["bpe"].files["spm.model"].replace(b"<0x41>", b"<0x4\xff>"),
            "not a SentencePiece model, or is damaged",
        ),
        ("spm.model", bytes(2 << 20), "larger than 1,048,576 bytes"),
        ("source.spm", VARIANTS["bpe"].files["spm.model"], "target.spm is missing"),
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
    whole = VARIANTS["unigram"].files["spm.model"]
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
