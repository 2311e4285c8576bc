"""One training step: its gradient is that of the mean over all real tokens, however batches are split."""

import math
import multiprocessing
import resource
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtx.checkpoint.training import Progress, TrainState
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.model import Transformer, build_transformer
from mtx.system.device import Precision
from mtx.train.loss import Loss, blocked_cross_entropy
from mtx.train.optim import build_optimizer
from mtx.train.spikes import MEMORY, SIGMAS, RunningStats, SpikeDetector
from mtx.train.step import PairTooLargeError, StepStats, train_step

VOCAB_SIZE = 13
CPU = torch.device("cpu")
FP32 = Precision(torch.float32, CPU)
PAIRS = [([4, 5, 6], [7]), ([9], [10, 11, 12, 4, 5, 6, 7, 8]), ([5, 5], [6, 6]), ([8, 7, 6, 5], [5, 6]), ([4], [12, 9])]
NUM_TOKENS = sum(len(tgt) + 1 for _, tgt in PAIRS)


def batch_of(pairs: Sequence[tuple[list[int], list[int]]]) -> Batch:
    src, tgt = (Ids.from_lists([pair[side] for pair in pairs]) for side in (0, 1))
    corpus = Corpus(src, tgt, Lines([np.arange(len(pairs))]), {}, 0, "key")
    return collate(corpus, np.arange(len(pairs)), pad_id=0, bos_id=2, eos_id=3)


def fresh_model(dtype: torch.dtype = torch.float64) -> Transformer:
    torch.manual_seed(1)
    sizes = ModelSettings(d_model=16, num_heads=2, d_ff=24, encoder_layers=1, decoder_layers=1, dropout=0.0)
    model = build_transformer(sizes, src_vocab_size=VOCAB_SIZE, tgt_vocab_size=VOCAB_SIZE, pad_id=0, is_joint=True)
    return model.to(dtype)


def state_of(model: Transformer, settings: TrainSettings, precision: Precision = FP32) -> TrainState:
    return TrainState(model, build_optimizer(model, settings), precision.scaler(), Progress())


def step(
    state: TrainState,
    batches: Sequence[Batch],
    settings: TrainSettings,
    precision: Precision = FP32,
    loss: Callable[..., Loss] = blocked_cross_entropy,
    spikes: SpikeDetector | None = None,
) -> StepStats:
    return train_step(
        state, lambda batch: loss(state.model, batch, settings), batches, precision, settings, spikes=spikes
    )


def plain_step(
    batches: Sequence[Batch],
    clip_norm: float = 1e9,
    scaler: torch.amp.GradScaler | None = None,
    loss: Callable[..., Loss] = blocked_cross_entropy,
) -> tuple[dict[str, Tensor], StepStats]:
    """Return the gradient that a step applies, seen through gradient descent of rate 1, and the step's figures."""
    model = fresh_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, fused=True)
    state = TrainState(model, optimizer, scaler or FP32.scaler(), Progress())
    settings = TrainSettings(lr=1.0, warmup_steps=0, schedule="constant", clip_norm=clip_norm, label_smoothing=0.2)
    stats = step(state, batches, settings, loss=loss)
    assert all(parameter.grad is None for parameter in model.parameters())
    return {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}, stats


def true_gradient(label_smoothing: float = 0.2) -> dict[str, Tensor]:
    """Gradient of the mean over the real tokens of all pairs, by torch's own cross-entropy."""
    model, batch = fresh_model(), batch_of(PAIRS)
    logits = model(batch.src_ids, batch.src_mask, batch.tgt_in)
    tgt = torch.full((batch.tgt_out.numel(),), -100).index_copy(
        0, batch.target_positions, batch.tgt_out.take(batch.target_positions)
    )
    loss = F.cross_entropy(logits.flatten(0, 1), tgt, label_smoothing=label_smoothing, ignore_index=-100)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    return {name: grad for (name, _), grad in zip(model.named_parameters(), grads, strict=True)}


def norm_of(gradient: dict[str, Tensor]) -> float:
    return float(torch.cat([grad.flatten() for grad in gradient.values()]).norm())


@pytest.mark.parametrize("cuts", [[], [2], [1, 2, 4]])
def test_splitting_a_batch_does_not_change_the_gradient(cuts: list[int]) -> None:
    bounds = [0, *cuts, len(PAIRS)]
    batches = [batch_of(PAIRS[start:end]) for start, end in pairwise(bounds)]
    gradient, stats = plain_step(batches)
    expected = true_gradient()
    for name, grad in gradient.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-10, atol=1e-10)
    assert (stats.num_tokens, stats.num_real) == (NUM_TOKENS, NUM_TOKENS + sum(len(src) + 1 for src, _ in PAIRS))
    assert stats.num_padded == sum(batch.src_ids.numel() + batch.tgt_in.numel() for batch in batches)
    assert stats.grad_norm == pytest.approx(norm_of(expected))
    with torch.no_grad():
        unsplit = blocked_cross_entropy(fresh_model(), batch_of(PAIRS), TrainSettings(label_smoothing=0.2))
    assert stats.loss == pytest.approx(float(unsplit.total))
    assert stats.nll == pytest.approx(float(unsplit.nll))


def test_ten_steps_in_any_number_of_batches_end_with_the_same_weights() -> None:
    """Checked in float32 with Adam. Batches differ in their tokens, and the last step has fewer than the others."""

    def weights_after(cuts: list[int], last_cuts: list[int]) -> dict[str, Tensor]:
        model, settings = fresh_model(torch.float32), TrainSettings(lr=1e-3, warmup_steps=4)
        state = state_of(model, settings)
        for number in range(10):
            bounds = [0, *(last_cuts if number == 9 else cuts), len(PAIRS)]
            step(state, [batch_of(PAIRS[a:b]) for a, b in pairwise(bounds)], settings)
        return {name: weight.detach() for name, weight in model.named_parameters()}

    expected = weights_after([], [])
    for cuts, last_cuts in (([2], [2]), ([1, 2, 4], [3]), ([1, 2, 3, 4], [])):
        for name, weight in weights_after(cuts, last_cuts).items():
            if "k_proj.bias" not in name:  # softmax ignores it: its gradient is rounding error, which Adam magnifies
                torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [None, 2.0**12])
def test_the_gradient_is_clipped_in_true_units(scale: float | None) -> None:
    expected = true_gradient()
    norm = norm_of(expected)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale) if scale else None
    gradient, stats = plain_step([batch_of(PAIRS)], clip_norm=norm / 4, scaler=scaler)
    assert stats.grad_norm == pytest.approx(norm)
    for name, grad in gradient.items():
        # torch adds 1e-6 to the norm that it divides by.
        torch.testing.assert_close(grad, expected[name] / 4, rtol=1e-5, atol=1e-10)


def set_column(value: float) -> Callable[[Tensor], Tensor]:
    return lambda grad: grad.index_fill(1, torch.tensor([3]), value)


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("name", ["nan", "inf", "norm", "loss"])
def test_a_step_that_is_not_finite_is_skipped(name: str, is_scaled: bool) -> None:
    model, settings = fresh_model(torch.float32), TrainSettings(warmup_steps=0, weight_decay=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=is_scaled)
    state = TrainState(model, build_optimizer(model, settings), scaler, Progress())

    def tensors() -> list[Tensor]:
        moments = [tensor for moment in state.optimizer.state.values() for tensor in moment.values()]
        return [tensor.detach().clone() for tensor in [*model.parameters(), *moments]]

    def infinite_loss(*args: Any) -> Loss:
        return Loss(blocked_cross_entropy(*args).total + math.inf, torch.zeros(()))

    assert not step(state, [batch_of(PAIRS)], settings).is_skipped
    before, scale_before = tensors(), scaler.get_scale()
    # A norm overflows where its square does, even if all numbers are finite.
    changes = {"nan": set_column(math.nan), "inf": set_column(math.inf), "norm": set_column(1e25)}
    hook = model.output.weight.register_hook(changes.get(name, lambda grad: grad))
    stats = step(state, [batch_of(PAIRS)], settings, loss=infinite_loss if name == "loss" else blocked_cross_entropy)
    hook.remove()
    assert stats.is_skipped
    assert math.isfinite(stats.loss) == (name != "loss")
    assert math.isfinite(stats.grad_norm) == (name == "loss")
    assert all(torch.equal(now, then) for now, then in zip(tensors(), before, strict=True))
    is_overflow_of_scaled = is_scaled and name in ("nan", "inf")
    assert scaler.get_scale() == (scale_before / 2 if is_overflow_of_scaled else scale_before)
    assert not step(state, [batch_of(PAIRS)], settings).is_skipped
    assert not torch.equal(tensors()[0], before[0])
    assert (stats.step, state.progress.step) == (2, 3), "a skipped step counts"


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_a_spike_is_skipped_on_request(name: str) -> None:
    def weights_and_stats(spikes: SpikeDetector | None) -> tuple[Tensor, StepStats]:
        model, settings = fresh_model(), TrainSettings(warmup_steps=0)
        stats = step(state_of(model, settings), [batch_of(PAIRS)], settings, spikes=spikes)
        return model.output.weight.detach(), stats

    weights, stats = weights_and_stats(None)
    value = {"loss": stats.loss / NUM_TOKENS, "grad_norm": stats.grad_norm}[name]
    for threshold, is_skipped in ((0.9 * value, True), (1.1 * value, False)):
        spikes = SpikeDetector(RunningStats(MEMORY, 1e3), RunningStats(MEMORY, 1e3))
        setattr(spikes, name, RunningStats(MEMORY, 0.0, (threshold / SIGMAS) ** 2))
        now, stats = weights_and_stats(spikes)
        assert stats.is_skipped == is_skipped
        assert torch.equal(now, fresh_model().output.weight if is_skipped else weights)


# --- memory ----------------------------------------------------------------------------------------------------------

FULL = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("cuts", [[], [2]])
def test_a_batch_too_large_for_memory_is_split(cuts: list[int], error: Exception) -> None:
    def limited(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
        if batch.tgt_out.numel() > 12:
            raise error
        return blocked_cross_entropy(model, batch, settings)

    bounds = [0, *cuts, len(PAIRS)]
    batches = [batch_of(PAIRS[start:end]) for start, end in pairwise(bounds)]
    gradient, stats = plain_step(batches, loss=limited)
    for name, expected in true_gradient().items():
        torch.testing.assert_close(gradient[name], expected, rtol=1e-10, atol=1e-10)
    assert stats.num_tokens == NUM_TOKENS
    assert stats.num_splits == (1 if cuts else 2)
    assert stats.rows.tolist() == [line for batch in batches for line in batch.rows]


def test_a_partial_gradient_is_dropped() -> None:
    """If memory ends in the backward pass, some weights have their gradient already."""
    calls = iter(range(100))

    def failing(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
        loss = blocked_cross_entropy(model, batch, settings)

        def end_of_memory(grad: Tensor) -> Tensor:
            assert model.output.weight.grad is None
            assert any(parameter.grad is not None for parameter in model.parameters())
            raise torch.OutOfMemoryError("CUDA out of memory.")

        if next(calls) == 0:
            model.encoder[0].self_attention.q_proj.weight.register_hook(end_of_memory)
        else:
            model.encoder[0].self_attention.q_proj.weight._backward_hooks.clear()
        return loss

    gradient, stats = plain_step([batch_of(PAIRS)], loss=failing)
    assert stats.num_splits == 1
    for name, expected in true_gradient().items():
        torch.testing.assert_close(gradient[name], expected, rtol=1e-10, atol=1e-10)


def test_a_single_pair_too_large_for_memory_is_an_error() -> None:
    def limited(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
        if batch.tgt_out.numel() > 8:
            raise MemoryError
        return blocked_cross_entropy(model, batch, settings)

    with pytest.raises(PairTooLargeError, match="2 source and 9 target tokens") as caught:
        plain_step([batch_of(PAIRS)], loss=limited)
    assert caught.value.batch.rows.tolist() == [1]
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        plain_step([batch_of(PAIRS)], loss=lambda *_: Loss(torch.ones(2, 3) @ torch.ones(2, 3), torch.zeros(())))


def splits_within_limit(connection: Connection) -> None:
    """In a process that may take 768 MiB more, do a step with 128 MiB for each of 8 rows on top of what it needs."""

    def heavy(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
        _weight = torch.empty(len(batch.rows) << 25)
        return blocked_cross_entropy(model, batch, settings)

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (768 << 20), resource.RLIM_INFINITY))
    gradient, stats = plain_step([batch_of(PAIRS + PAIRS[:3])], loss=heavy)
    connection.send((stats.num_splits, {name: grad.tolist() for name, grad in gradient.items()}))


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_real_lack_of_memory_does_not_change_the_step() -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=splits_within_limit, args=(there,))
    process.start()
    there.close()
    num_splits, gradient = here.recv()
    process.join()
    expected, _ = plain_step([batch_of(PAIRS + PAIRS[:3])])
    assert num_splits >= 1  # how many depends on what else this torch has mapped
    for name, grad in expected.items():
        torch.testing.assert_close(torch.tensor(gradient[name], dtype=grad.dtype), grad, rtol=1e-10, atol=1e-10)


# --- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_low_precision_learns_as_float32_does() -> None:
    """The task is to repeat the input, for 200 steps."""
    draw = np.random.default_rng(1)
    drawn = [[draw.integers(4, VOCAB_SIZE, draw.integers(1, 7)).tolist() for _ in range(16)] for _ in range(200)]
    batches = [batch_of([(ids, ids) for ids in sentences]) for sentences in drawn]

    def losses(precision: Precision) -> list[float]:
        """Losses per token, without smoothing."""
        model, settings = fresh_model(torch.float32), TrainSettings(lr=3e-3, warmup_steps=20)
        state = state_of(model, settings, precision)
        found = []
        for batch in batches:
            stats = step(state, [batch], settings, precision)
            found.append(stats.nll / stats.num_tokens)
        return found

    exact = losses(FP32)
    assert np.mean(exact[-20:]) < 0.8 * exact[0]
    for dtype in (torch.bfloat16, torch.float16):
        found = losses(Precision(dtype, CPU))
        assert np.isfinite(found).all()
        assert np.mean(found[-20:]) == pytest.approx(np.mean(exact[-20:]), rel=0.02), dtype
