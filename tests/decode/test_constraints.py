"""Byte pieces spell whole characters only, in greedy and beam search, and searches ask their constraints rightly."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.config.settings import TokenizerSettings
from mtx.decode.beam import beam_search
from mtx.decode.constraints import WholeCharacters
from mtx.decode.search import Constraint, greedy_search
from mtx.decode.translator import Translator
from mtx.system.device import Precision
from mtx.text.train_tokenizer import train_tokenizer

CPU = torch.device("cpu")
BOS, EOS, WORD, VOCAB = 0, 1, 2, 3 + 256
BYTES = WholeCharacters([*range(3, VOCAB)], VOCAB, CPU)
OPTIONS = DecodeOptions(beam_size=1, max_length_factor=1.0, max_length_extra=4)


def spelled(ids: list[int]) -> bytes:
    """Words are a space, of one byte."""
    return b"".join(bytes([id_ - 3]) if id_ >= 3 else b" " for id_ in ids)


def begins_text(text: bytes) -> bool:
    """Whether some bytes after `text` make it valid UTF-8, by trying them."""
    ends = [b"", *(first + rest for first in (b"\x80", b"\xbf") for rest in (b"", b"\x80", b"\x80\x80"))]
    return any((text + end).decode(errors="ignore").encode() == text + end for end in ends)


class Slow:
    """Do what `WholeCharacters` should, one token at a time."""

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        for row, ids in enumerate(ids_RT[:, 1:].tolist()):
            is_whole = begins_text(spelled(ids)) and spelled(ids).decode(errors="ignore").encode() == spelled(ids)
            for token in range(VOCAB):
                is_possible = begins_text(spelled([*ids, token])) if token >= 3 else is_whole
                if not is_possible:
                    logp_RV[row, token] = -torch.inf


class Wild:
    """A model that likes bytes; what it says depends on the sentence and the tokens so far."""

    def __init__(self, vocab_size: int = VOCAB) -> None:
        self.vocab_size = vocab_size

    def start(self, src_ids: Tensor, src_mask: Tensor) -> "Wild.State":
        return Wild.State(src_ids.sum(dim=1) * 7919)

    def step(self, prev_ids: Tensor, state: "Wild.State") -> tuple[Tensor, "Wild.State"]:
        seeds = (state.seeds * 31 + prev_ids) % 1_000_003
        logits = [torch.randn(self.vocab_size, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds]
        return torch.stack(logits) * 2, Wild.State(seeds)

    class State:
        def __init__(self, seeds: Tensor) -> None:
            self.seeds = seeds

        def select(self, rows_R: Tensor, sentences_B: Tensor) -> "Wild.State":
            return Wild.State(self.seeds[rows_R])


def search(beam: int, *constraints: Constraint, num_sentences: int = 6, **options: Any) -> list[list[tuple[Any, ...]]]:
    src_ids = torch.arange(num_sentences)[:, None].expand(-1, 4)
    options = OPTIONS.model_copy(update={"beam_size": beam, "n_best": beam, **options})
    find = greedy_search if beam == 1 else beam_search
    found = find(Wild(), src_ids, src_ids >= 0, options, bos_id=BOS, eos_id=EOS, constraints=constraints)
    return [[(h.ids, h.logp) for h in of_sentence] for of_sentence in found]


@pytest.mark.parametrize("beam", [1, 3])
def test_a_search_finds_what_trying_each_token_finds(beam: int) -> None:
    found = search(beam, BYTES)
    assert found == search(beam, Slow())
    assert found != search(beam)
    for of_sentence in found:
        for ids, logp in of_sentence:
            spelled(BYTES.finished(ids)).decode()
            assert math.isfinite(logp)


def test_greedy_search_without_scores_finds_the_same() -> None:
    found = search(1, BYTES)
    plain = search(1, BYTES, with_scores=False)
    assert [[ids for ids, _ in each] for each in plain] == [[ids for ids, _ in each] for each in found]


def test_what_breaks_no_rule_has_the_same_score() -> None:
    """No probability is shared out again."""
    free, bound = search(1, num_sentences=200), search(1, BYTES, num_sentences=200)
    valid = [
        number
        for number, each in enumerate(free)
        if spelled(each[0][0]).decode(errors="ignore").encode() == spelled(each[0][0])
    ]
    assert len(valid) > 3
    assert all(free[number] == bound[number] for number in valid)
    words = torch.randn(4, VOCAB)
    masked = words.clone()
    BYTES.apply(masked, torch.tensor([[BOS, WORD]] * 4), torch.arange(4))
    kept = masked.isfinite()
    assert torch.equal(masked[kept], words[kept])
    assert kept.sum().item() == 4 * (3 + 128 + 51)  # the bytes that begin a character: ASCII, and C2 to F4


@given(st.lists(st.text(max_size=3).map(str.encode), max_size=4).map(b"".join), st.integers(0, 3))
def test_every_text_is_possible_and_nothing_else(text: bytes, num_missing: int) -> None:
    begun = [byte + 3 for byte in text[: len(text) - num_missing]]
    logp = torch.zeros(1, VOCAB)
    BYTES.apply(logp, torch.tensor([[BOS, *begun]]), torch.zeros(1, dtype=torch.long))
    wanted = torch.zeros(1, VOCAB)
    Slow().apply(wanted, torch.tensor([[BOS, *begun]]), torch.zeros(1, dtype=torch.long))
    assert torch.equal(logp, wanted)
    finished = spelled(BYTES.finished(begun))
    assert finished.decode() == spelled(begun).decode(errors="ignore")


class NotItsNumber:
    """Forbids the token of the number of the sentence."""

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        logp_RV[torch.arange(len(logp_RV)), 10 + sentences_R] = -torch.inf
        assert logp_RV.size(0) == ids_RT.size(0) == sentences_R.size(0)


@pytest.mark.parametrize("beam", [1, 4])
def test_a_constraint_knows_the_sentence_of_each_row(beam: int) -> None:
    free, bound = search(beam, num_sentences=40), search(beam, NotItsNumber(), num_sentences=40)
    assert all(10 + number not in ids for number, each in enumerate(bound) for ids, _ in each)
    assert any(10 + number in ids for number, each in enumerate(free) for ids, _ in each)
    assert beam > 1 or all(
        a == b for number, (a, b) in enumerate(zip(free, bound, strict=True)) if 10 + number not in a[0][0]
    )


def test_a_vocabulary_without_byte_pieces_has_no_such_constraint() -> None:
    tokenizer = train_tokenizer(["abc"] * 9, ["abc"] * 9, TokenizerSettings(vocab_size=9, byte_fallback=False), print)
    assert WholeCharacters.of(tokenizer, CPU) is None


@pytest.mark.parametrize("beam", [1, 3])
def test_no_output_has_a_replacement_character_that_its_source_has_not(
    beam: int, trained: TrainedModel, sentences: list[str]
) -> None:
    """The vocabulary has a piece for it, from damaged training text."""
    tokenizer = train_tokenizer([], [*sentences, "\ufffd " * 9], TokenizerSettings(vocab_size=330), print)
    options = trained.generation.decode.with_options(beam_size=beam)
    translator = Translator(replace(trained, tokenizer=tokenizer), options, Precision(torch.float32, CPU))
    translator.model = Wild(tokenizer.tgt_vocab_size)
    translator.num_workers = 1
    lines = [f"dog {chr(200 + number)}" for number in range(200)]
    texts = [translation.tgt for translation in translator.translate(lines)]
    assert sum(not text.isascii() for text in texts) > 50
    assert not any("\ufffd" in text for text in texts)
    assert beam > 1 or any("\ufffd" in each.tgt for each in translator.translate([f"{line} \ufffd" for line in lines]))
