"""DDP and FSDP around a step: in a group of one rank they change nothing and return the same state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from mtx.checkpoint.training import Progress, TrainState
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.distributed.process_group import SINGLE, ProcessGroup
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer, build_transformer
from mtx.system.device import Precision
from mtx.train.loss import LOSSES, Loss, blocked_cross_entropy
from mtx.train.optim import build_optimizer
from mtx.train.parallel import BatchLoss, check_parallel, full_state, parallelize
from mtx.train.step import StepStats, train_step

PARALLEL = ["ddp", "fsdp"]
CPU = torch.device("cpu")
SETTINGS = TrainSettings(lr=1e-2, warmup_steps=2)
FP32 = Precision(torch.float32, CPU)
PAIRS = [([4, 5, 6], [7]), ([9], [10, 11, 12, 4, 5, 6]), ([5, 5], [6, 6]), ([8, 7, 6, 5], [5, 6]), ([4], [12, 9])]


def batch_of(pairs: Sequence[tuple[list[int], list[int]]]) -> Batch:
    src, tgt = (Ids.from_lists([pair[side] for pair in pairs]) for side in (0, 1))
    rows = np.arange(len(pairs))
    return collate(Corpus(src, tgt, Lines([rows]), {}, 0, "key"), rows, pad_id=0, bos_id=2, eos_id=3)


def fresh_model() -> Transformer:
    torch.manual_seed(1)
    sizes = ModelSettings(d_model=16, num_heads=2, d_ff=24, encoder_layers=2, decoder_layers=1, dropout=0.0)
    return build_transformer(sizes, src_vocab_size=13, tgt_vocab_size=13, pad_id=0, is_joint=True)


@pytest.fixture
def group() -> Iterator[ProcessGroup]:
    """A group of one."""
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield ProcessGroup(0, 1, 0, store)
    dist.destroy_process_group()


@dataclass
class Run:
    """Training on the ranks of a group."""

    state: TrainState
    loss_fn: BatchLoss
    model: Transformer
    """Model with whole weights."""
    group: ProcessGroup

    def full_state(self) -> TrainState:
        return full_state(self.state, self.model, SETTINGS, self.group)

    def learn(self, num_steps: int) -> list[StepStats]:
        """Train on two batches a step."""
        stats = []
        for _ in range(num_steps):
            batches = [batch_of(PAIRS[:2]), batch_of(PAIRS[2:])]
            stats.append(train_step(self.state, self.loss_fn, batches, FP32, SETTINGS, self.group))
        return stats

    def weights(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.full_state().model.named_parameters()}


def start(group: ProcessGroup, parallel: str, initial: TrainState | None = None) -> Run:
    model = fresh_model()
    initial = initial or TrainState(model, build_optimizer(model, SETTINGS), FP32.scaler(), Progress())
    assert isinstance(initial.model, Transformer)
    settings = SETTINGS.model_copy(update={"parallel": parallel})
    return Run(*parallelize(initial, settings, CPU, group), initial.model, group)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("parallel", PARALLEL)
def test_steps_equal_those_of_a_single_process(group: ProcessGroup, parallel: str) -> None:
    single, run = start(SINGLE, "ddp"), start(group, parallel)
    for expected, stats in zip(single.learn(6), run.learn(6), strict=True):
        assert (stats.loss, stats.nll) == pytest.approx((expected.loss, expected.nll), rel=1e-6)
        assert stats.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    for name, weight in single.weights().items():
        torch.testing.assert_close(run.weights()[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("parallel", PARALLEL)
def test_a_gathered_state_continues_with_ddp_and_with_fsdp(group: ProcessGroup, parallel: str) -> None:
    first = start(group, parallel)
    first.learn(3)
    full = first.full_state()
    moments = {
        name: {key: value.clone() for key, value in full.optimizer.state[weight].items()}
        for name, weight in full.model.named_parameters()
    }
    assert all(set(state) == {"step", "exp_avg", "exp_avg_sq"} for state in moments.values())
    assert all(float(state["step"]) == 3 for state in moments.values())
    for other in PARALLEL:
        model = fresh_model()
        model.load_state_dict(full.model.state_dict())
        optimizer = build_optimizer(model, SETTINGS)
        for name, weight in model.named_parameters():
            optimizer.state[weight] = {key: value.clone() for key, value in moments[name].items()}
        second = start(group, other, TrainState(model, optimizer, FP32.scaler(), Progress(step=3)))
        expected = first.weights()
        assert all(weight.equal(expected[name]) for name, weight in second.weights().items())
        (stats,) = second.learn(1)
        assert stats.lr == pytest.approx(1e-2 * (2 / 4) ** 0.5)
        uninterrupted = start(group, parallel)
        (*_, fourth) = uninterrupted.learn(4)
        assert stats.loss == pytest.approx(fourth.loss, rel=1e-6)
        for name, weight in uninterrupted.weights().items():
            torch.testing.assert_close(second.weights()[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_a_step_that_is_not_finite_is_skipped(
    group: ProcessGroup, parallel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    factor = 1.0

    def loss(*args: Any) -> Loss:
        return Loss(blocked_cross_entropy(*args).total * factor, torch.zeros(()))

    monkeypatch.setitem(LOSSES, "cross_entropy", loss)
    run = start(group, parallel)
    run.learn(2)
    before = run.weights()
    factor = torch.nan
    assert run.learn(1)[0].is_skipped
    assert all(weight.equal(before[name]) for name, weight in run.weights().items())
    factor = 1.0
    assert not run.learn(1)[0].is_skipped


def fail_on(call: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run out of memory in the forward or the backward pass of batch number `call`."""
    calls = iter(range(1, 100))

    def failing(*args: Any) -> Loss:
        loss = blocked_cross_entropy(*args)
        if next(calls) == call:
            if where == "forward":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            loss.total.register_hook(_raise_out_of_memory)
        return loss

    monkeypatch.setitem(LOSSES, "cross_entropy", failing)


def _raise_out_of_memory(_: Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("call", "where"), [(1, "forward"), (1, "backward"), (2, "forward")])
def test_a_batch_is_split_while_no_other_rank_waits(
    call: int, where: str, group: ProcessGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = start(SINGLE, "ddp").learn(3)
    fail_on(call, where, monkeypatch)
    stats = start(group, "ddp").learn(3)
    assert [each.num_splits for each in stats] == [1, 0, 0]
    assert [each.loss for each in stats] == pytest.approx([each.loss for each in expected], rel=1e-6)
    assert [each.grad_norm for each in stats] == pytest.approx([each.grad_norm for each in expected], rel=1e-5)


@pytest.mark.parametrize(
    ("parallel", "call", "where"), [("ddp", 2, "backward"), ("fsdp", 1, "forward"), ("fsdp", 2, "backward")]
)
def test_running_out_of_memory_while_others_wait_ends_the_run(
    parallel: str, call: int, where: str, group: ProcessGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_on(call, where, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        start(group, parallel).learn(1)


def test_fsdp_with_fp16_is_refused(group: ProcessGroup) -> None:
    settings = TrainSettings(parallel="fsdp")
    with pytest.raises(UserError, match="fp16") as caught:
        check_parallel(settings, Precision(torch.float16, CPU), group)
    assert caught.value.code == ExitCode.USAGE
    check_parallel(settings, Precision(torch.float16, CPU), SINGLE)
    check_parallel(settings, FP32, group)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_a_gathered_model_keeps_the_names_of_its_weights(group: ProcessGroup, parallel: str) -> None:
    single, run = start(SINGLE, "ddp"), start(group, parallel)
    assert (run.full_state() is run.state) == (parallel == "ddp")
    assert list(run.weights()) == list(single.weights())
    assert all(type(weight) is Tensor for weight in run.weights().values())
