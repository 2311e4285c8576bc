"""Whoever changes attention, and no other file, gets a model that trains and decodes with the change."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtx.config.decoding import DecodeOptions
from mtx.decode.beam import beam_search
from mtx.decode.search import greedy_search
from mtx.model import Transformer, attention, layers, transformer
from mtx.model.attention import MultiHeadAttention
from mtx.model.fast import for_decoding, for_training
from mtx.model.fast.agreement import twins_agree

MakeBatch = Callable[..., tuple[Tensor, Tensor, Tensor]]


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    twins_agree.cache_clear()
    yield
    twins_agree.cache_clear()


def other_scale(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: nn.Module | None = None) -> Tensor:
    """Equation 1 without its scale."""
    scores = q @ k.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    return (weights if dropout is None else dropout(weights)) @ v


class GatedAttention(MultiHeadAttention):
    """Attention with one more parameter, which changes nothing while it is 1."""

    def __init__(self, *sizes: Any) -> None:
        super().__init__(*sizes)
        self.gate = nn.Parameter(torch.ones(()))

    def attend(self, query: Tensor, k_BHKP: Tensor, v_BHKP: Tensor, mask: Tensor | None) -> Tensor:
        return self.gate * super().attend(query, k_BHKP, v_BHKP, mask)


class OneProjection(nn.Module):
    """Attention that has neither the projections nor the kernel that the twins know."""

    def __init__(self, d_model: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        return self.attend(query, *self.project_memory(memory), mask)

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        keys = self.proj(memory)[:, None]
        return keys, keys

    def attend(self, query: Tensor, k_B1KD: Tensor, v_B1KD: Tensor, mask: Tensor | None) -> Tensor:
        return other_scale(self.proj(query)[:, None], k_B1KD, v_B1KD, mask)[:, 0]


def colder_when_long(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: nn.Module | None = None) -> Tensor:
    """Equation 1, with another scale from 128 keys on."""
    return attention_as_it_is(q * (2 if k.size(2) >= 128 else 1), k, v, mask, dropout)


attention_as_it_is = attention.scaled_dot_product_attention
mask_as_it_is = transformer.causal_mask

CHANGES: dict[str, tuple[object, str, object]] = {
    "another scale": (attention, "scaled_dot_product_attention", other_scale),
    "a subclass": (transformer, "MultiHeadAttention", GatedAttention),
    "another class": (transformer, "MultiHeadAttention", OneProjection),
    "another feed-forward": (layers.FeedForward, "forward", lambda self, x: self.outer(F.gelu(self.inner(x)))),
}


def test_the_twins_agree_with_the_model_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    before = torch.get_rng_state()
    assert twins_agree()
    assert torch.equal(torch.get_rng_state(), before)
    assert not caplog.messages


def losses_and_translations(model: Transformer, decoder: Any, batch: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """The training loss, and the log-probabilities that greedy and beam search find for their translations."""
    losses = [F.cross_entropy(model(*batch).flatten(0, 1), batch[2].flatten())]
    for search, width in ((greedy_search, 1), (beam_search, 3)):
        options = DecodeOptions(beam_size=width, n_best=width)
        with torch.inference_mode():
            found = search(decoder, *batch[:2], options, bos_id=0, eos_id=3)
        losses.append(torch.tensor([hypothesis.logp for hypotheses in found for hypothesis in hypotheses]))
    return losses


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_in_training_and_in_every_search(
    name: str,
    make_model: Callable[..., Transformer],
    make_batch: MakeBatch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batch = make_batch(3, sizes=(6, 8, 7))
    unchanged = make_model(3, dtype=torch.float32).eval()
    before = losses_and_translations(unchanged, unchanged, batch)
    monkeypatch.setattr(*CHANGES[name])
    model = make_model(3, dtype=torch.float32).eval()
    expected = losses_and_translations(model, model, batch)
    assert all(not torch.equal(*pair) for pair in zip(expected, before, strict=True))
    decoder = for_decoding(model, torch.float32)
    found = losses_and_translations(for_training(model), decoder, batch)
    torch.testing.assert_close(found, expected)
    assert "mtx/model differs from its fast twins" in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8], ids=str)
def test_a_changed_model_still_decodes_in_other_precisions(
    dtype: torch.dtype, make_model: Callable[..., Transformer], make_batch: MakeBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*CHANGES["another class"])
    model, (src_ids, src_mask, tgt_in) = make_model(3, dtype=torch.float32).eval(), make_batch(3)
    with torch.inference_mode():
        expected, _ = model.step(tgt_in[:, 0], model.start(src_ids, src_mask))
        decoder: Any = for_decoding(model, dtype)
        found, _ = decoder.step(tgt_in[:, 0], decoder.start(src_ids, src_mask))
    error = (found.float() - expected).square().mean().sqrt() / expected.std()
    assert 1e-5 < error < 0.1


def test_a_change_for_long_input_alone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "scaled_dot_product_attention", colder_when_long)
    assert not twins_agree()


def test_a_mask_that_steps_do_not_see_is_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A window of four positions: in `Transformer.forward` the mask makes it, while a step sees all of the past."""
    monkeypatch.setattr(transformer, "causal_mask", lambda *args: mask_as_it_is(*args).triu(-3))
    twins_agree()
    assert "decoding step by step differs from Transformer.forward" in caplog.text


def test_without_twins_the_model_runs_as_it_reads(
    make_model: Callable[..., Transformer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MTX_FAST", "0")
    assert isinstance(for_decoding(make_model(dtype=torch.float32), torch.float32), Transformer)
    kernels = {part.kernel for part in for_training(make_model()).modules() if isinstance(part, MultiHeadAttention)}
    assert kernels == {attention.scaled_dot_product_attention}
    assert not caplog.messages
