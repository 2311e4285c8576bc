"""Loops are found where the source explains none, and are searched again without; all else stays as it is."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.settings import TokenizerSettings
from mtx.decode.loops import Loops, NoLoops, Surfaces, loops_in
from mtx.decode.search import Hypothesis
from mtx.decode.translator import Translator
from mtx.system.device import Precision
from mtx.text.train_tokenizer import train_tokenizer

CPU = Precision(torch.float32, torch.device("cpu"))


@pytest.mark.parametrize(
    ("src", "tgt"),
    [
        ("A man in a hat.", "Ein MAGGGG mit Hut."),
        ("A high fence.", "Ein hoher hoher hoher hoher Zaun."),
        ("A high fence.", "hoher hoher hoher hoher"),
        ("A fence.", "Zaun, der Zaun, der Zaun, der Zaun, der"),
        ("A man and a woman.", "auf dem Berg auf dem Berg auf dem Berg auf dem Berg."),
        ("他在看书。", "他他他他在看书。"),
        ("Ha ha.", "哈哈哈哈哈"),
        ("Wait... what", "Warte !!!! was"),
        ("One or two.", "Eins 0000000000000000000."),
        ("In 1998.", "Im Jahr 19999."),
        ("A 3.", "Die 3 3 3 3."),
        ("The 3333.", "Die 3 3 3 3 3."),
        ("A fence.", "abbbbbabbbbbabbbbbabbbbb"),
        ("A row ......... of dots", "Eine Reihe von von von von von Punkten"),
        ("🎉", "🎉🎉🎉🎉"),
    ],
)
def test_loops_are_found(src: str, tgt: str) -> None:
    loops = Loops(src)
    assert list(loops.find(tgt))
    assert not list(loops.find(loops.cut(tgt)))


@pytest.mark.parametrize(
    ("src", "tgt"),
    [
        ("A million yen: 1000000.", "1000000 Yen."),
        ("Ten million.", "10000000"),
        ("Un billion", "1 000 000 000 000"),
        ("Call 555,555.", "Ruf 555555 an."),
        ("0 1 0 1 0 1 0 1", "0 1 0 1 0 1 0 1"),
        ("کد ۷۷۷۷", "Code 7777"),
        ("Name: ......................", "Nom : ......................"),
        ("Dated at ..., the ... day of ...", "Fait le ............................"),
        ("----------", "----------"),
        ("好！！！！", "Gut!!!!"),
        ("Name . . . . .", "Nom ....."),
        ("Ha ha ha ha ha!", "Hahahahaha!"),
        ("Ha ha ha ha ha!", "哈哈哈哈哈！"),
        ("It is very, very, very big.", "Es ist sehr, sehr, sehr groß."),
        ("No, no, no, no!", "Nein, nein, nein, nein!"),
        ("Ship travel, www.", "Schifffahrt, www."),
        ("Everyone, slowly…", "人人慢慢地……——"),
        ("Aaaaaaah", "Aaaaaaaaah"),
        ("Aaaaaaah, www", "Aaaaaaaaah"),
        ("ha ha ha", "hahahahahaha"),
        ("", ""),
    ],
)
def test_what_the_source_explains_is_no_loop(src: str, tgt: str) -> None:
    assert not list(Loops(src).find(tgt))
    assert Loops(src).cut(tgt) == tgt


@given(st.text("ab ", max_size=5), st.text("ab c", min_size=1, max_size=4), st.integers(4, 9))
def test_cutting_leaves_no_loop_at_the_end(before: str, unit: str, count: int) -> None:
    loops, text = Loops(""), (before + unit * count).strip()
    assert not list(loops.find(loops.cut(loops.cut(text))))


class Stuck:
    """A model that says the same of every next token: the first of `favourites`, then the second …, end last."""

    def __init__(self, favourites: list[int], vocab_size: int, broken: list[int]) -> None:
        self.logits = torch.full((vocab_size,), -20.0)
        self.logits[favourites] = -torch.arange(float(len(favourites)))
        self.healthy = self.logits.roll(0).clone()
        self.broken = torch.tensor(broken)

    def start(self, src_ids: Tensor, src_mask: Tensor) -> "Stuck.State":
        return Stuck.State(torch.isin(src_ids, self.broken).any(dim=1), 0)

    def step(self, prev_ids: Tensor, state: "Stuck.State") -> tuple[Tensor, "Stuck.State"]:
        logits = self.logits.repeat(len(prev_ids), 1)
        logits[~state.is_broken_R] = self.logits.flip(0).roll(state.num_steps)
        return logits, Stuck.State(state.is_broken_R, state.num_steps + 1)

    class State:
        def __init__(self, is_broken_R: Tensor, num_steps: int) -> None:
            self.is_broken_R, self.num_steps = is_broken_R, num_steps

        def select(self, rows_R: Tensor, sentences_B: Tensor) -> "Stuck.State":
            return Stuck.State(self.is_broken_R[rows_R], self.num_steps)


@pytest.fixture(scope="module")
def spelled(trained: TrainedModel, sentences: list[str]) -> TrainedModel:
    """A model with byte pieces, and pieces for runs of a letter."""
    text = [*sentences, *["GGGG GG MAGGGG hoher 日本"] * 20]
    return replace(trained, tokenizer=train_tokenizer(text, text, TokenizerSettings(vocab_size=400), print))


@pytest.mark.parametrize(
    ("ids", "text"), [([5], "MAGGGG"), ([5, 6, 5, 6, 5, 6, 5, 6], "dogs run dogs run dogs run dogs run")]
)
def test_a_loop_in_any_hypothesis_is_found(ids: list[int], text: str) -> None:
    fine, looping = Hypothesis([5, 6, 7], 0.0, 0.0), Hypothesis(ids, 0.0, 0.0)
    assert loops_in("A", [fine, looping], ["a dog", text]) is not None
    assert loops_in(text, [fine, looping], ["a dog", text]) is None
    assert loops_in("A", [fine], ["a dog"]) is None


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("pieces", [["G", "GG", "GGGG"], ["▁dog"], ["▁man", "▁dog"], ["<0xE6>", "<0x97>", "<0xA5>"]])
def test_a_line_with_a_loop_is_searched_again_and_no_other(
    beam: int, pieces: list[str], spelled: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = spelled.tokenizer
    ids = [id_ for id_ in tokenizer.tgt_pieces.piece_to_id(pieces) if id_ != tokenizer.unk_id]
    broken = tokenizer.encode_src(["XYZ"])[0][-1:]
    options = spelled.generation.decode.with_options(beam_size=beam, max_length_extra=40)
    translator = Translator(spelled, options, CPU)
    translator.model = Stuck([*ids, 90, 95, 96], tokenizer.tgt_vocab_size, broken)
    lines = ["man sees", "man XYZ", "dog"]
    found = translator.translate(lines)
    assert not any(list(Loops(each.src).find(candidate.tgt)) for each in found for candidate in each.nbest)
    monkeypatch.setattr("mtx.decode.translator.loops_in", lambda *_: None)
    plain = translator.translate(lines)
    assert list(Loops("man XYZ").find(plain[1].tgt))
    assert [a == b for a, b in zip(plain, found, strict=True)] == [True, False, True]
    assert [each.num_loops for each in found] == [0, 1, 0]


def test_a_loop_that_the_search_cannot_leave_is_cut(spelled: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = Translator(spelled, spelled.generation.decode.with_options(beam_size=1), CPU)
    translator.model = Stuck(
        spelled.tokenizer.tgt_pieces.piece_to_id(["▁dog"]),
        spelled.tokenizer.tgt_vocab_size,
        spelled.tokenizer.encode_src(["XYZ"])[0][-1:],
    )
    monkeypatch.setattr(NoLoops, "apply", lambda *_: None)
    assert translator.translate(["man XYZ"])[0].tgt == "dog dog dog"


@given(st.lists(st.sampled_from([b"G", b"GG", b" a", b"a", b"b a", "日".encode()]), max_size=14))
def test_only_tokens_that_would_make_or_nearly_make_a_loop_are_impossible(tokens: list[bytes]) -> None:
    by_id = [b"", b"G", b"GG", b" a", b"a", b"b a", "日".encode(), b"\xe6", b"\x97", b"\xa5", b"aaaa", b"."]
    loops = Loops("")
    rows = torch.tensor([[0, *map(by_id.index, tokens)]])
    logp = torch.zeros(1, len(by_id))
    NoLoops(Surfaces(by_id), [loops]).apply(logp, rows, torch.zeros(1, dtype=torch.long))
    text = b"".join(tokens).decode(errors="replace")
    for id_, surface in enumerate(by_id):
        longer = b"".join([*tokens, surface]).decode(errors="replace")
        if logp[0, id_] == 0 and surface:
            assert len(list(loops.find(longer))) <= len(list(loops.find(text)))
    assert logp[0, 0] == 0
    assert logp[0, by_id.index(b".")] == 0


def test_a_unit_longer_than_any_token_is_not_repeated_again() -> None:
    by_id = [b"", b" one", b" two", b" six", b"."]
    logp = torch.zeros(1, len(by_id))
    rows = torch.tensor([[0, 1, 2, 3, 1, 2, 3, 1, 2]])
    NoLoops(Surfaces(by_id), [Loops("")]).apply(logp, rows, torch.zeros(1, dtype=torch.long))
    assert logp[0].tolist() == [0, 0, 0, -torch.inf, 0]
