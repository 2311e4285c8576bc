"""FLOPs of a step equal those of torch's own counter; the rate of this machine is plausible."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mtx.config.settings import ModelSettings
from mtx.model import Transformer
from mtx.system.device import Precision
from mtx.train import flops
from mtx.train.flops import matrix_rate, step_flops


@pytest.mark.parametrize(
    "sizes",
    [
        {"d_model": 8, "num_heads": 2, "d_ff": 24, "encoder_layers": 1, "decoder_layers": 1},
        {"d_model": 12, "num_heads": 3, "d_ff": 20, "encoder_layers": 3, "decoder_layers": 2},
    ],
)
@pytest.mark.parametrize(("num_pairs", "src_length", "tgt_length"), [(1, 3, 5), (4, 7, 2)])
def test_flops_equal_those_that_torch_counts(
    make_model: Callable[..., Transformer], sizes: dict[str, Any], num_pairs: int, src_length: int, tgt_length: int
) -> None:
    model = make_model(vocab_sizes=(23, 31), is_joint=False, **sizes)
    src_ids = torch.randint(4, 23, (num_pairs, src_length))
    tgt_in = torch.randint(4, 31, (num_pairs, tgt_length))
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # the counter can't see into others
        model(src_ids, torch.ones_like(src_ids, dtype=torch.bool), tgt_in).sum().backward()
    counted = step_flops(ModelSettings(**sizes), 31, num_pairs * src_length, num_pairs * tgt_length, num_pairs)
    assert counted == counter.get_total_flops()


def test_measuring_the_machine_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    rate = matrix_rate(Precision(torch.float32, torch.device("cpu")), (64, 32, 32))
    assert 1e6 < rate < 1e15
    assert torch.get_rng_state().equal(before)


def test_each_of_three_products_is_computed_the_fastest_way(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([3.0, 2.0, 8.0, 6.0])  # two ways forward, one back to the inputs, one to the weights
    precision = Precision(torch.bfloat16, torch.device("cpu"))
    monkeypatch.setattr(flops, "_best_seconds", lambda product: next(times))
    shape = 5, 6, 7  # one that nothing else has measured
    assert matrix_rate(precision, shape) == pytest.approx(3 * 2 * 5 * 6 * 7 / (2 + 8 + 6))
