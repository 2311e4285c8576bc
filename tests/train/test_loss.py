"""Losses: the fast twin gives the numbers of the plain loss, and a new loss is a function."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mtx.config.settings import Config, TrainSettings
from mtx.data.batching import Batch, collate
from mtx.data.prepared.corpus import Corpus, Ids, Lines
from mtx.model import Transformer
from mtx.train.loss import FAST_TWINS, LOSSES, Loss, cross_entropy, loss_function, real_logits, smoothed, twin_agrees
from mtx.train.records import read_metrics
from mtx.train.trainer import train

PAIRS = [([4, 5, 6], [7]), ([9], [10, 11, 12, 4, 5]), ([5, 5], [6, 6])]


@pytest.fixture
def batch() -> Batch:
    src, tgt = (Ids.from_lists([pair[side] for pair in PAIRS]) for side in (0, 1))
    rows = torch.arange(len(PAIRS)).numpy()
    return collate(Corpus(src, tgt, Lines([rows]), {}, 0, ""), rows, pad_id=0, bos_id=2, eos_id=3)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("plain", list(FAST_TWINS), ids=lambda loss: loss.__name__)
def test_a_fast_twin_gives_the_same_numbers(
    plain: Callable[..., Loss], label_smoothing: float, make_model: Callable[..., Transformer], batch: Batch
) -> None:
    settings, model = TrainSettings(label_smoothing=label_smoothing), make_model()
    results = []
    for loss in (plain, FAST_TWINS[plain]):
        total, nll = loss(model, batch, settings)
        results.append((total, nll, torch.autograd.grad(total, list(model.parameters()))))
        assert not nll.requires_grad
    torch.testing.assert_close(results[1], results[0], rtol=1e-10, atol=1e-10)


def test_the_plain_loss_is_a_sum_over_real_tokens(make_model: Callable[..., Transformer], batch: Batch) -> None:
    model = make_model()
    loss = cross_entropy(model, batch, TrainSettings(label_smoothing=0.0))
    probabilities = model(batch.src_ids, batch.src_mask, batch.tgt_in).softmax(-1)
    expected = -sum(
        probabilities[row, position, token].log()
        for row, (_, tgt) in enumerate(PAIRS)
        for position, token in enumerate([*tgt, 3])
    )
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.nll, expected.detach())


def test_a_loss_with_another_function_has_no_fast_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loss_function("cross_entropy") is FAST_TWINS[cross_entropy]
    monkeypatch.setitem(LOSSES, "cross_entropy", r_drop)
    assert loss_function("cross_entropy") is r_drop


def test_a_loss_that_was_changed_runs_without_its_twin(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def doubled(*args: Any) -> Loss:
        return Loss(*(2 * number for number in cross_entropy(*args)))

    monkeypatch.setitem(LOSSES, "cross_entropy", doubled)
    monkeypatch.setitem(FAST_TWINS, doubled, FAST_TWINS[cross_entropy])
    assert loss_function("cross_entropy") is doubled
    assert "doubled differs from its fast twin blocked_cross_entropy" in caplog.text


def test_logits_that_were_changed_are_trained_without_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    twin_agrees.cache_clear()
    forward = Transformer.forward
    monkeypatch.setattr(Transformer, "forward", lambda *args: forward(*args).tanh())
    assert loss_function("cross_entropy") is cross_entropy
    twin_agrees.cache_clear()


def test_without_twins_the_plain_loss_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    twin_agrees.cache_clear()
    monkeypatch.setenv("MTX_FAST", "0")
    assert loss_function("cross_entropy") is cross_entropy
    twin_agrees.cache_clear()


def r_drop(model: Transformer, batch: Batch, settings: TrainSettings) -> Loss:
    """R-Drop (Liang et al. 2021): two passes with different dropout masks, whose predictions should agree."""
    first, second = real_logits(model, batch), real_logits(model, batch)
    losses = smoothed(first, batch, settings), smoothed(second, batch, settings)
    p, q = first.log_softmax(-1), second.log_softmax(-1)
    divergence = sum(F.kl_div(a, b, reduction="sum", log_target=True) for a, b in ((p, q), (q, p))) / 2
    return Loss((losses[0].total + losses[1].total) / 2 + divergence, (losses[0].nll + losses[1].nll) / 2)


def test_a_new_loss_can_be_trained_with(
    configure: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example is R-Drop, which needs two passes and their logits."""
    monkeypatch.setitem(LOSSES, "r_drop", r_drop)
    config = configure(
        "model.dropout=0.3", "train.log_every=1", "train.max_steps=40", "train.save_every=40", "data.dev=null"
    )
    config = config.model_copy(update={"train": config.train.model_copy(update={"loss": "r_drop"})})
    train(config, tmp_path / "run")
    records = [record for record in read_metrics(tmp_path / "run" / "metrics.jsonl") if record["event"] == "update"]
    assert [record["skipped"] for record in records] == [0] * 40
    first, last = records[0], records[-1]
    assert first["loss"] > first["nll"]
    assert last["nll"] < 0.95 * first["nll"]
