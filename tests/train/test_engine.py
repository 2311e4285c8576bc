"""Torch's engines around an update: in a group of one rank they change nothing, and give back what they were given."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from mtx.checkpoint.training import Progress, Training
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepared.corpus import Corpus
from mtx.data.prepared.ids import Ids, Lines
from mtx.distributed.process_group import SINGLE, ProcessGroup
from mtx.errors import ExitCode, UserError
from mtx.model import Transformer, build_transformer
from mtx.system.device import Precision
from mtx.train import step as update_module
from mtx.train.engine import Engine, build_engine, check_engine
from mtx.train.optim import build_optimizer
from mtx.train.step import UpdateStats, loss_sums, update

PARALLEL = ["ddp", "fsdp"]
CPU = torch.device("cpu")
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


def engine_of(group: ProcessGroup, parallel: str, settings: TrainSettings | None = None) -> Engine:
    model = fresh_model()
    settings = settings or TrainSettings(lr=1e-2, warmup_steps=2)
    settings = settings.model_copy(update={"parallel": parallel})
    saved = Training(model, build_optimizer(model, settings), FP32.scaler(), Progress())
    return build_engine(saved, settings, FP32, group)


def learn(engine: Engine, num_updates: int) -> list[UpdateStats]:
    """Two batches an update."""
    found = []
    for _ in range(num_updates):
        batches = [batch_of(PAIRS[:2]), batch_of(PAIRS[2:])]
        settings = TrainSettings(lr=1e-2, warmup_steps=2)
        found.append(update(engine.training, engine.objective, batches, FP32, settings, group=engine.group))
        engine.saved.progress.step += 1
    return found


def weights(engine: Engine) -> dict[str, Tensor]:
    engine.gather()
    return {name: weight.detach().clone() for name, weight in engine.saved.model.named_parameters()}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("parallel", PARALLEL)
def test_updates_are_those_of_a_process_by_itself(group: ProcessGroup, parallel: str) -> None:
    plain, engine = engine_of(SINGLE, "ddp"), engine_of(group, parallel)
    for expected, found in zip(learn(plain, 6), learn(engine, 6), strict=True):
        assert (found.loss, found.nll) == pytest.approx((expected.loss, expected.nll), rel=1e-6)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    for name, weight in weights(plain).items():
        torch.testing.assert_close(weights(engine)[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("parallel", PARALLEL)
def test_what_is_gathered_can_be_taken_up_by_any_engine(group: ProcessGroup, parallel: str) -> None:
    first = engine_of(group, parallel)
    learn(first, 3)
    first.gather()
    moments = {
        name: {key: value.clone() for key, value in first.saved.optimizer.state[weight].items()}
        for name, weight in first.saved.model.named_parameters()
    }
    assert all(set(state) == {"step", "exp_avg", "exp_avg_sq"} for state in moments.values())
    assert all(float(state["step"]) == 3 for state in moments.values())
    for other in PARALLEL:
        model = fresh_model()
        model.load_state_dict(first.saved.model.state_dict())
        settings = TrainSettings(lr=1e-2, warmup_steps=2, parallel=other)
        optimizer = build_optimizer(model, settings)
        for name, weight in model.named_parameters():
            optimizer.state[weight] = {key: value.clone() for key, value in moments[name].items()}
        saved = Training(model, optimizer, FP32.scaler(), Progress(step=3))
        second = build_engine(saved, settings, FP32, group)
        expected = weights(first)
        assert all(weight.equal(expected[name]) for name, weight in weights(second).items())
        (found,) = learn(second, 1)
        assert found.lr == pytest.approx(1e-2 * (2 / 4) ** 0.5)
        later = engine_of(group, parallel)
        (*_, fourth) = learn(later, 4)
        assert found.loss == pytest.approx(fourth.loss, rel=1e-6)
        for name, weight in weights(later).items():
            torch.testing.assert_close(weights(second)[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_an_update_that_is_not_finite_is_skipped(
    group: ProcessGroup, parallel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(group, parallel)
    learn(engine, 2)
    before = weights(engine)
    with monkeypatch.context() as patch:
        patch.setattr(update_module, "loss_sums", lambda *args: [loss * torch.nan for loss in loss_sums(*args)])
        (stats,) = learn(engine, 1)
    assert stats.is_skipped
    assert all(weight.equal(before[name]) for name, weight in weights(engine).items())
    assert not learn(engine, 1)[0].is_skipped


def fails_on(call: int, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory ends in the forward or the backward pass of the so-manieth batch."""
    calls = iter(range(1, 100))

    def failing(model: Transformer, batch: Batch, *others: Any) -> tuple[Tensor, Tensor]:
        loss, nll = loss_sums(model, batch, *others)
        if next(calls) == call:
            if where == "forward":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            loss.register_hook(_raise_out_of_memory)
        return loss, nll

    monkeypatch.setattr(update_module, "loss_sums", failing)


def _raise_out_of_memory(_: Tensor) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("call", "where"), [(1, "forward"), (1, "backward"), (2, "forward")])
def test_what_no_other_rank_knows_of_is_done_again(
    call: int, where: str, group: ProcessGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, engine = learn(engine_of(SINGLE, "ddp"), 3), engine_of(group, "ddp")
    fails_on(call, where, monkeypatch)
    found = learn(engine, 3)
    assert [stats.num_cuts for stats in found] == [1, 0, 0]
    assert [stats.loss for stats in found] == pytest.approx([stats.loss for stats in expected], rel=1e-6)
    assert [stats.grad_norm for stats in found] == pytest.approx([stats.grad_norm for stats in expected], rel=1e-5)


@pytest.mark.parametrize(
    ("parallel", "call", "where"), [("ddp", 2, "backward"), ("fsdp", 1, "forward"), ("fsdp", 2, "backward")]
)
def test_memory_that_ends_while_others_wait_ends_the_run(
    parallel: str, call: int, where: str, group: ProcessGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(group, parallel)
    fails_on(call, where, monkeypatch)
    with pytest.raises(torch.OutOfMemoryError):
        learn(engine, 1)


def test_sharded_weights_and_fp16_do_not_go_together(group: ProcessGroup) -> None:
    settings = TrainSettings(parallel="fsdp")
    with pytest.raises(UserError, match="fp16") as caught:
        check_engine(settings, Precision(torch.float16, CPU), group)
    assert caught.value.code == ExitCode.USAGE
    check_engine(settings, Precision(torch.float16, CPU), SINGLE)
    check_engine(settings, FP32, group)


@pytest.mark.parametrize("parallel", PARALLEL)
def test_a_model_is_saved_as_itself_whatever_wraps_it(group: ProcessGroup, parallel: str) -> None:
    plain, engine = engine_of(SINGLE, "ddp"), engine_of(group, parallel)
    assert engine.is_sharded == (parallel == "fsdp")
    assert list(weights(engine)) == list(weights(plain))
    assert all(type(weight) is Tensor for weight in weights(engine).values())
