"""CUDA gives the same numbers as the CPU, and every precision trains. Skipped on machines without a CUDA device."""

import copy

import pytest
import torch

from mtx.config.decoding import DecodeOptions
from mtx.config.settings import ModelSettings, TrainSettings
from mtx.decode.beam import beam_search
from mtx.model import build_transformer
from mtx.model.fast.loss import projected_loss_sum
from mtx.system.device import choose_precision
from mtx.train.optim import build_optimizer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

SETTINGS = ModelSettings(d_model=64, num_heads=4, d_ff=128, encoder_layers=2, decoder_layers=2, dropout=0.0)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    src_ids, tgt_in = torch.randint(4, 50, (8, 11)), torch.randint(4, 50, (8, 9))
    src_mask = torch.arange(11) < torch.randint(3, 12, (8, 1))
    return src_ids, src_mask, tgt_in


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 2e-2)])
def test_logits_and_loss_equal_the_cpu(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], precision: str, tolerance: float
) -> None:
    torch.manual_seed(1)
    model = build_transformer(SETTINGS, src_vocab_size=50, tgt_vocab_size=50, pad_id=0, is_joint=True).eval()
    there = copy.deepcopy(model).cuda()
    moved = tuple(tensor.cuda() for tensor in batch)
    with choose_precision(precision, torch.device("cuda")).autocast():
        logits = there(*moved)
        hidden = there.decode(moved[2], there.encode(*moved[:2]), moved[1]).flatten(0, 1)
        loss, _ = projected_loss_sum(hidden, there.output.weight, moved[2].flatten(), 0.1)
    torch.testing.assert_close(logits.float().cpu(), model(*batch), rtol=tolerance, atol=tolerance)
    expected = torch.nn.functional.cross_entropy(
        model(*batch).flatten(0, 1), batch[2].flatten(), reduction="sum", label_smoothing=0.1
    )
    torch.testing.assert_close(loss.cpu(), expected, rtol=tolerance, atol=tolerance)


def test_beam_search_finds_the_same_as_on_the_cpu(batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(2)
    model = build_transformer(SETTINGS, src_vocab_size=50, tgt_vocab_size=50, pad_id=0, is_joint=True).eval().double()
    options, symbols = DecodeOptions(beam_size=4, max_length_extra=4, n_best=4), {"bos_id": 2, "eos_id": 3}
    with torch.inference_mode():
        here = beam_search(model, *batch[:2], options, **symbols)
        there = beam_search(model.cuda(), batch[0].cuda(), batch[1].cuda(), options, **symbols)
    assert [[h.ids for h in found] for found in here] == [[h.ids for h in found] for found in there]


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_every_precision_learns_a_batch_by_heart(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor], name: str
) -> None:
    torch.manual_seed(3)
    precision = choose_precision(name, torch.device("cuda"))
    model = build_transformer(SETTINGS, src_vocab_size=50, tgt_vocab_size=50, pad_id=0, is_joint=True).cuda()
    settings = TrainSettings(lr=3e-3)
    optimizer, scaler = build_optimizer(model, settings), precision.scaler()
    src_ids, src_mask, tgt_in = (tensor.cuda() for tensor in batch)
    losses = []
    for _ in range(60):
        with precision.autocast():
            hidden = model.decode(tgt_in, model.encode(src_ids, src_mask), src_mask)[:, :-1].flatten(0, 1)
            loss, nll = projected_loss_sum(hidden, model.output.weight, tgt_in[:, 1:].flatten(), 0.0)
        scaler.scale(loss / len(hidden)).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(float(nll) / len(hidden))
    assert losses[-1] < 0.2 < losses[0]
