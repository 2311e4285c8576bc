"""An ensemble predicts what the mean of its models' predictions says."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.config.decoding import DecodeOptions
from mtx.decode.beam import beam_search
from mtx.decode.ensemble import Ensemble, Mean, average, with_common_limits
from mtx.decode.translator import Translator
from mtx.model import Transformer
from mtx.system.device import choose_precision

CPU = choose_precision("fp32", torch.device("cpu"))


@given(st.integers(0, 99), st.integers(1, 5), st.sampled_from(["logprobs", "probs"]), st.floats(0.1, 300))
def test_the_average_of_equal_logits_is_each_bit_for_bit(seed: int, count: int, mean: Mean, size: float) -> None:
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(seed)) * size
    assert torch.equal(average([logits.clone() for _ in range(count)], mean), logits)


@given(st.integers(0, 99), st.integers(1, 4), st.floats(0.1, 300))
def test_the_average_is_the_mean_of_probabilities_or_of_their_logarithms(seed: int, count: int, size: float) -> None:
    logits = torch.randn(count, 3, 40, generator=torch.Generator().manual_seed(seed)) * size
    logp = logits.double().log_softmax(dim=-1)
    wanted = {"logprobs": logp.mean(dim=0), "probs": logp.logsumexp(dim=0) - math.log(count)}
    for mean in ("logprobs", "probs"):
        found = average(list(logits), mean).log_softmax(dim=-1)
        assert torch.allclose(found.double(), wanted[mean].log_softmax(dim=-1), rtol=1e-5, atol=1e-4), mean


@pytest.mark.parametrize("mean", ["logprobs", "probs"])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_an_ensemble_of_a_model_with_itself_is_the_model(
    mean: Mean, beam_size: int, trained: TrainedModel, sentences: list[str]
) -> None:
    options = trained.generation.decode.with_options(beam_size=beam_size, n_best=beam_size, ensemble=mean)
    alone = Translator(trained, options, CPU).translate(sentences[:20])
    assert Translator(trained, options, CPU, [trained.model, trained.model]).translate(sentences[:20]) == alone


@pytest.mark.parametrize("mean", ["logprobs", "probs"])
def test_a_search_with_several_models_scores_by_their_mean(
    mean: Mean, make_model: Callable[..., Transformer], make_batch: Callable[..., tuple[Tensor, Tensor, Tensor]]
) -> None:
    """Sources without padding, so that each can be computed by itself."""
    models = [make_model(seed).eval() for seed in (1, 2, 3)]
    src_ids, _, _ = make_batch(4, sizes=(5, 6, 1))
    src_ids = src_ids.clamp(min=4)
    src_mask = torch.ones_like(src_ids, dtype=torch.bool)
    options = DecodeOptions(beam_size=3, n_best=3, max_length_factor=1.0, max_length_extra=3)
    with torch.inference_mode():
        found = beam_search(Ensemble(models, mean), src_ids, src_mask, options, bos_id=2, eos_id=3)
        for row, hypotheses in enumerate(found):
            for hypothesis in hypotheses:
                tgt_in = torch.tensor([[2, *hypothesis.ids]])
                logp = torch.stack([m(src_ids[row : row + 1], src_mask[row : row + 1], tgt_in)[0] for m in models])
                logp = logp.log_softmax(dim=-1)
                logp = logp.mean(dim=0) if mean == "logprobs" else logp.exp().mean(dim=0).log()
                logp = logp.log_softmax(dim=-1)
                expected = sum(logp[t, token].item() for t, token in enumerate((*hypothesis.ids, 3)))
                assert hypothesis.logp == pytest.approx(expected, rel=1e-5)
    assert len({tuple(each[0].ids) for each in found}) > 1


def test_lines_are_cut_to_suit_all_models(trained: TrainedModel) -> None:
    long = replace(trained, generation=trained.generation.model_copy(update={"max_source_tokens": 99}))
    several = replace(trained, generation=trained.generation.model_copy(update={"sentences_per_source": (1, 9)}))
    assert with_common_limits([long, trained]).generation.max_source_tokens == trained.generation.max_source_tokens
    assert with_common_limits([several, trained]).generation.max_sentences == 1
    assert with_common_limits([several, several]).generation.max_sentences == 2
    assert with_common_limits([trained]) == trained
