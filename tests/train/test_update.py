"""One update: its gradient is that of the mean over all real tokens, however they are split, in every precision."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtx.checkpoint.training import Progress, Training
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepare import Corpus, Ids
from mtx.model import Transformer, build_transformer
from mtx.runtime import Precision
from mtx.train.optim import build_optimizer
from mtx.train.update import UpdateStats, loss_sums, update

VOCAB_SIZE = 13
CPU = torch.device("cpu")
FP32 = Precision(torch.float32, CPU)
PAIRS = [([4, 5, 6], [7]), ([9], [10, 11, 12, 4, 5, 6, 7, 8]), ([5, 5], [6, 6]), ([8, 7, 6, 5], [5, 6]), ([4], [12, 9])]


def batch_of(pairs: Sequence[tuple[list[int], list[int]]]) -> Batch:
    src, tgt = (Ids.from_lists([pair[side] for pair in pairs]) for side in (0, 1))
    corpus = Corpus(src, tgt, np.arange(len(pairs)), {}, 0, "key")
    return collate(corpus, np.arange(len(pairs)), pad_id=0, bos_id=2, eos_id=3)


def fresh_model(dtype: torch.dtype = torch.float64) -> Transformer:
    torch.manual_seed(1)
    sizes = ModelSettings(d_model=16, num_heads=2, d_ff=24, encoder_layers=1, decoder_layers=1, dropout=0.0)
    model = build_transformer(sizes, src_vocab_size=VOCAB_SIZE, tgt_vocab_size=VOCAB_SIZE, pad_id=0, is_joint=True)
    return model.to(dtype)


def plain_update(
    batches: Sequence[Batch], clip_norm: float = 1e9, scaler: torch.amp.GradScaler | None = None
) -> tuple[dict[str, Tensor], UpdateStats]:
    """The gradient that an update applies, seen through plain gradient descent of rate 1; and what the update tells."""
    model = fresh_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, fused=True)
    training = Training(model, optimizer, scaler or FP32.scaler(), Progress())
    settings = TrainSettings(lr=1.0, warmup_steps=0, schedule="constant", clip_norm=clip_norm, label_smoothing=0.2)
    stats = update(training, model, batches, FP32, settings)
    assert all(parameter.grad is None for parameter in model.parameters())
    return {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}, stats


def true_gradient() -> dict[str, Tensor]:
    """The gradient of the mean over the real tokens of all pairs, by torch's own cross-entropy."""
    model, batch = fresh_model(), batch_of(PAIRS)
    logits = model(batch.src_ids, batch.src_mask, batch.tgt_in)
    tgt = torch.full((batch.tgt_out.numel(),), -100).index_copy(0, batch.real, batch.tgt_out.flatten()[batch.real])
    loss = F.cross_entropy(logits.flatten(0, 1), tgt, label_smoothing=0.2, ignore_index=-100)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return {name: grad for (name, _), grad in zip(model.named_parameters(), grads, strict=True)}


def norm_of(gradient: dict[str, Tensor]) -> float:
    return float(torch.cat([grad.flatten() for grad in gradient.values()]).norm())


@pytest.mark.parametrize("cuts", [[], [2], [1, 2, 4]])
def test_splitting_a_batch_does_not_change_the_gradient(cuts: list[int]) -> None:
    bounds = [0, *cuts, len(PAIRS)]
    batches = [batch_of(PAIRS[start:end]) for start, end in pairwise(bounds)]
    gradient, stats = plain_update(batches)
    expected = true_gradient()
    for name, grad in gradient.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-10, atol=1e-10)
    num_tgt = sum(len(tgt) + 1 for _, tgt in PAIRS)
    assert (stats.num_tokens, stats.num_real) == (num_tgt, num_tgt + sum(len(src) + 1 for src, _ in PAIRS))
    assert stats.num_padded == sum(batch.src_ids.numel() + batch.tgt_in.numel() for batch in batches)
    assert float(stats.grad_norm) == pytest.approx(norm_of(expected))
    with torch.no_grad():
        whole_loss, whole_nll = loss_sums(fresh_model(), batch_of(PAIRS), FP32, 0.2)
    assert float(stats.loss) == pytest.approx(float(whole_loss))
    assert float(stats.nll) == pytest.approx(float(whole_nll))


@pytest.mark.parametrize("scale", [None, 2.0**12])
def test_the_gradient_is_clipped_in_true_units(scale: float | None) -> None:
    expected = true_gradient()
    norm = norm_of(expected)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale) if scale else None
    gradient, stats = plain_update([batch_of(PAIRS)], clip_norm=norm / 4, scaler=scaler)
    assert float(stats.grad_norm) == pytest.approx(norm)
    for name, grad in gradient.items():
        # torch adds 1e-6 to the norm that it divides by.
        torch.testing.assert_close(grad, expected[name] / 4, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_update_without_a_finite_gradient_is_skipped(value: float, is_scaled: bool) -> None:
    model, settings = fresh_model(torch.float32), TrainSettings(warmup_steps=0)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=is_scaled)
    training = Training(model, build_optimizer(model, settings), scaler, Progress())

    def state() -> list[Tensor]:
        moments = [tensor for moment in training.optimizer.state.values() for tensor in moment.values()]
        return [tensor.detach().clone() for tensor in [*model.parameters(), *moments]]

    assert not update(training, model, [batch_of(PAIRS)], FP32, settings).is_skipped
    before, scale_before = state(), scaler.get_scale()
    hook = model.output.weight.register_hook(lambda grad: grad.index_fill(1, torch.tensor([3]), value))
    stats = update(training, model, [batch_of(PAIRS)], FP32, settings)
    assert stats.is_skipped
    assert not stats.grad_norm.isfinite()
    assert all(torch.equal(now, then) for now, then in zip(state(), before, strict=True))
    assert scaler.get_scale() == (scale_before / 2 if is_scaled else 1.0)
    hook.remove()
    assert not update(training, model, [batch_of(PAIRS)], FP32, settings).is_skipped
    assert not torch.equal(state()[0], before[0])


def test_low_precision_learns_as_float32_does() -> None:
    def loss_after_updates(precision: Precision) -> float:
        model = fresh_model(torch.float32)
        settings = TrainSettings(lr=3e-3, warmup_steps=10, label_smoothing=0.0)
        training = Training(model, build_optimizer(model, settings), precision.scaler(), Progress())
        for step in range(40):
            training.progress.step = step
            stats = update(training, model, [batch_of(PAIRS)], precision, settings)
        return float(stats.loss)

    exact = loss_after_updates(FP32)
    with torch.no_grad():
        untrained = float(loss_sums(fresh_model(torch.float32), batch_of(PAIRS), FP32, 0.0)[0])
    assert exact < untrained / 2
    for dtype in (torch.bfloat16, torch.float16):
        assert loss_after_updates(Precision(dtype, CPU)) == pytest.approx(exact, rel=0.02), dtype
