"""One update: its gradient is that of the mean over all real tokens, however they are split, in every precision."""

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

from mtx.checkpoint.training import Progress, Training
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.ids import Ids, Lines
from mtx.model import Transformer, build_transformer
from mtx.system.device import Precision
from mtx.train import step as update_module
from mtx.train.optim import build_optimizer
from mtx.train.spikes import MEMORY, SIGMAS, Level, Ordinary
from mtx.train.step import Objective, PairTooLargeError, UpdateStats, loss_sums, update

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


def plain_update(
    batches: Sequence[Batch], clip_norm: float = 1e9, scaler: torch.amp.GradScaler | None = None
) -> tuple[dict[str, Tensor], UpdateStats]:
    """The gradient that an update applies, seen through plain gradient descent of rate 1; and what the update tells."""
    model = fresh_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, fused=True)
    training = Training(model, optimizer, scaler or FP32.scaler(), Progress())
    settings = TrainSettings(lr=1.0, warmup_steps=0, schedule="constant", clip_norm=clip_norm, label_smoothing=0.2)
    stats = update(training, Objective(model), batches, FP32, settings)
    assert all(parameter.grad is None for parameter in model.parameters())
    return {name: before[name] - parameter.detach() for name, parameter in model.named_parameters()}, stats


def true_gradient(label_smoothing: float = 0.2) -> dict[str, Tensor]:
    """The gradient of the mean over the real tokens of all pairs, by torch's own cross-entropy."""
    model, batch = fresh_model(), batch_of(PAIRS)
    logits = model(batch.src_ids, batch.src_mask, batch.tgt_in)
    tgt = torch.full((batch.tgt_out.numel(),), -100).index_copy(0, batch.real, batch.tgt_out.flatten()[batch.real])
    loss = F.cross_entropy(logits.flatten(0, 1), tgt, label_smoothing=label_smoothing, ignore_index=-100)
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
    assert (stats.num_tokens, stats.num_real) == (NUM_TOKENS, NUM_TOKENS + sum(len(src) + 1 for src, _ in PAIRS))
    assert stats.num_padded == sum(batch.src_ids.numel() + batch.tgt_in.numel() for batch in batches)
    assert stats.grad_norm == pytest.approx(norm_of(expected))
    with torch.no_grad():
        whole_loss, whole_nll = loss_sums(fresh_model(), batch_of(PAIRS), FP32, 0.2)
    assert stats.loss == pytest.approx(float(whole_loss))
    assert stats.nll == pytest.approx(float(whole_nll))


def test_ten_updates_in_any_number_of_batches_end_with_the_same_weights() -> None:
    """In float32 and by Adam; of unequal numbers of tokens, and the last update of fewer than the others."""

    def weights_after(cuts: list[int], last_cuts: list[int]) -> dict[str, Tensor]:
        model, settings = fresh_model(torch.float32), TrainSettings(lr=1e-3, warmup_steps=4)
        training = Training(model, build_optimizer(model, settings), FP32.scaler(), Progress())
        for step in range(10):
            training.progress.step = step
            bounds = [0, *(last_cuts if step == 9 else cuts), len(PAIRS)]
            update(training, Objective(model), [batch_of(PAIRS[a:b]) for a, b in pairwise(bounds)], FP32, settings)
        return {name: weight.detach() for name, weight in model.named_parameters()}

    expected = weights_after([], [])
    for cuts, last_cuts in (([2], [2]), ([1, 2, 4], [3]), ([1, 2, 3, 4], [])):
        for name, weight in weights_after(cuts, last_cuts).items():
            if "k_proj.bias" not in name:  # softmax does not see them: their gradient is rounding, which Adam magnifies
                torch.testing.assert_close(weight, expected[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [None, 2.0**12])
def test_the_gradient_is_clipped_in_true_units(scale: float | None) -> None:
    expected = true_gradient()
    norm = norm_of(expected)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale) if scale else None
    gradient, stats = plain_update([batch_of(PAIRS)], clip_norm=norm / 4, scaler=scaler)
    assert stats.grad_norm == pytest.approx(norm)
    for name, grad in gradient.items():
        # torch adds 1e-6 to the norm that it divides by.
        torch.testing.assert_close(grad, expected[name] / 4, rtol=1e-5, atol=1e-10)


def set_column(value: float) -> Callable[[Tensor], Tensor]:
    return lambda grad: grad.index_fill(1, torch.tensor([3]), value)


@pytest.mark.parametrize("is_scaled", [False, True])
@pytest.mark.parametrize("name", ["nan", "inf", "norm", "loss"])
def test_an_update_that_is_not_finite_is_skipped(name: str, is_scaled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model, settings = fresh_model(torch.float32), TrainSettings(warmup_steps=0, weight_decay=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=is_scaled)
    training = Training(model, build_optimizer(model, settings), scaler, Progress())

    def state() -> list[Tensor]:
        moments = [tensor for moment in training.optimizer.state.values() for tensor in moment.values()]
        return [tensor.detach().clone() for tensor in [*model.parameters(), *moments]]

    assert not update(training, Objective(model), [batch_of(PAIRS)], FP32, settings).is_skipped
    before, scale_before = state(), scaler.get_scale()
    with monkeypatch.context() as patch:
        # A norm overflows where its square does, of numbers that are all finite.
        changes = {"nan": set_column(math.nan), "inf": set_column(math.inf), "norm": set_column(1e25)}
        hook = model.output.weight.register_hook(changes.get(name, lambda grad: grad))
        if name == "loss":
            patch.setattr(update_module, "loss_sums", lambda *args: (loss_sums(*args)[0] + math.inf, torch.zeros(())))
        stats = update(training, Objective(model), [batch_of(PAIRS)], FP32, settings)
        hook.remove()
    assert stats.is_skipped
    assert math.isfinite(stats.loss) == (name != "loss")
    assert math.isfinite(stats.grad_norm) == (name == "loss")
    assert all(torch.equal(now, then) for now, then in zip(state(), before, strict=True))
    is_overflow_of_scaled = is_scaled and name in ("nan", "inf")
    assert scaler.get_scale() == (scale_before / 2 if is_overflow_of_scaled else scale_before)
    assert not update(training, Objective(model), [batch_of(PAIRS)], FP32, settings).is_skipped
    assert not torch.equal(state()[0], before[0])


@pytest.mark.parametrize("name", ["loss", "grad_norm"])
def test_what_is_far_out_of_the_ordinary_is_skipped_if_asked_for(name: str) -> None:
    def weights_and_stats(ordinary: Ordinary | None) -> tuple[Tensor, UpdateStats]:
        model, settings = fresh_model(), TrainSettings(warmup_steps=0)
        training = Training(model, build_optimizer(model, settings), FP32.scaler(), Progress())
        stats = update(training, Objective(model), [batch_of(PAIRS)], FP32, settings, ordinary)
        return model.output.weight.detach(), stats

    weights, stats = weights_and_stats(None)
    found = {"loss": stats.loss / NUM_TOKENS, "grad_norm": stats.grad_norm}[name]
    for highest, is_skipped in ((0.9 * found, True), (1.1 * found, False)):
        ordinary = Ordinary(Level(MEMORY, 1e3), Level(MEMORY, 1e3))
        setattr(ordinary, name, Level(MEMORY, 0.0, (highest / SIGMAS) ** 2))
        now, stats = weights_and_stats(ordinary)
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
def test_a_batch_too_large_for_memory_is_cut(
    cuts: list[int], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited_loss_sums(model: Transformer, batch: Batch, *others: Any) -> tuple[Tensor, Tensor]:
        if batch.tgt_out.numel() > 12:
            raise error
        return loss_sums(model, batch, *others)

    monkeypatch.setattr(update_module, "loss_sums", limited_loss_sums)
    bounds = [0, *cuts, len(PAIRS)]
    batches = [batch_of(PAIRS[start:end]) for start, end in pairwise(bounds)]
    gradient, stats = plain_update(batches)
    for name, expected in true_gradient().items():
        torch.testing.assert_close(gradient[name], expected, rtol=1e-10, atol=1e-10)
    assert stats.num_tokens == NUM_TOKENS
    assert stats.num_cuts == (1 if cuts else 2)
    assert stats.rows.tolist() == [line for batch in batches for line in batch.rows]


def test_half_a_gradient_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory ends on the way back, some weights have their gradient already."""
    calls = iter(range(100))

    def failing_loss_sums(model: Transformer, *others: Any) -> tuple[Tensor, Tensor]:
        loss, nll = loss_sums(model, *others)

        def end_of_memory(grad: Tensor) -> Tensor:
            assert model.output.weight.grad is None
            assert any(parameter.grad is not None for parameter in model.parameters())
            raise torch.OutOfMemoryError("CUDA out of memory.")

        if next(calls) == 0:
            model.encoder[0].self_attention.q_proj.weight.register_hook(end_of_memory)
        else:
            model.encoder[0].self_attention.q_proj.weight._backward_hooks.clear()
        return loss, nll

    monkeypatch.setattr(update_module, "loss_sums", failing_loss_sums)
    gradient, stats = plain_update([batch_of(PAIRS)])
    assert stats.num_cuts == 1
    for name, expected in true_gradient().items():
        torch.testing.assert_close(gradient[name], expected, rtol=1e-10, atol=1e-10)


def test_a_single_pair_too_large_for_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def limited_loss_sums(model: Transformer, batch: Batch, *others: Any) -> tuple[Tensor, Tensor]:
        if batch.tgt_out.numel() > 8:
            raise MemoryError
        return loss_sums(model, batch, *others)

    monkeypatch.setattr(update_module, "loss_sums", limited_loss_sums)
    with pytest.raises(PairTooLargeError, match="2 source and 9 target tokens") as caught:
        plain_update([batch_of(PAIRS)])
    assert caught.value.batch.rows.tolist() == [1]
    monkeypatch.setattr(update_module, "loss_sums", lambda *_: torch.ones(2, 3) @ torch.ones(2, 3))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        plain_update([batch_of(PAIRS)])


def cuts_within_limit(connection: Connection) -> None:
    """In a process that may take 768 MiB more, an update with 128 MiB for each of 8 rows beside what it needs."""

    def heavy_loss_sums(model: Transformer, batch: Batch, *others: Any) -> tuple[Tensor, Tensor]:
        _weight = torch.empty(len(batch.rows) << 25)
        return loss_sums(model, batch, *others)

    update_module.loss_sums = heavy_loss_sums
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (768 << 20), resource.RLIM_INFINITY))
    gradient, stats = plain_update([batch_of(PAIRS + PAIRS[:3])])
    connection.send((stats.num_cuts, {name: grad.tolist() for name, grad in gradient.items()}))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_where_memory_really_ends_the_update_stays_the_same() -> None:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=cuts_within_limit, args=(there,))
    process.start()
    there.close()
    num_cuts, gradient = here.recv()
    process.join()
    expected, _ = plain_update([batch_of(PAIRS + PAIRS[:3])])
    assert num_cuts >= 1  # how many depends on what else this torch has mapped
    for name, grad in expected.items():
        torch.testing.assert_close(torch.tensor(gradient[name], dtype=grad.dtype), grad, rtol=1e-10, atol=1e-10)


# --- precision -------------------------------------------------------------------------------------------------------


def test_low_precision_learns_as_float32_does() -> None:
    """To repeat what it is given, for 200 updates."""
    draw = np.random.default_rng(1)
    drawn = [[draw.integers(4, VOCAB_SIZE, draw.integers(1, 7)).tolist() for _ in range(16)] for _ in range(200)]
    batches = [batch_of([(ids, ids) for ids in sentences]) for sentences in drawn]

    def losses(precision: Precision) -> list[float]:
        """Of a token, without smoothing."""
        model, settings = fresh_model(torch.float32), TrainSettings(lr=3e-3, warmup_steps=20)
        training = Training(model, build_optimizer(model, settings), precision.scaler(), Progress())
        found = []
        for step, batch in enumerate(batches):
            training.progress.step = step
            stats = update(training, Objective(model), [batch], precision, settings)
            found.append(stats.nll / stats.num_tokens)
        return found

    exact = losses(FP32)
    assert np.mean(exact[-20:]) < 0.8 * exact[0]
    for dtype in (torch.bfloat16, torch.float16):
        found = losses(Precision(dtype, CPU))
        assert np.isfinite(found).all()
        assert np.mean(found[-20:]) == pytest.approx(np.mean(exact[-20:]), rel=0.02), dtype
