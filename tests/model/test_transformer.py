"""The whole Transformer: torch's with the same weights, blind to the future and to padding, the same step by step."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from mtx.config.settings import PRESETS, ModelSettings
from mtx.model import Transformer, build_transformer

MakeModel = Callable[..., Transformer]
MakeBatch = Callable[..., tuple[Tensor, Tensor, Tensor]]
Norm = Literal["pre", "post"]

both_norms = pytest.mark.parametrize("norm", ["pre", "post"])


def torch_transformer(norm: Norm, dtype: torch.dtype) -> nn.Transformer:
    """nn.Transformer of three layers and two; post-norm without closing norms, which the paper does not have."""
    options: dict[str, Any] = {"dropout": 0.0, "batch_first": True, "norm_first": norm == "pre", "dtype": dtype}
    sizes = (16, 4, 24)
    closing = [nn.LayerNorm(16, dtype=dtype) if norm == "pre" else None for _ in range(2)]
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(*sizes, **options), 3, closing[0], enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(*sizes, **options), 2, closing[1])
    return nn.Transformer(16, 4, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)


@both_norms
@pytest.mark.parametrize("is_joint", [True, False])
def test_equals_torch(
    norm: Norm,
    is_joint: bool,
    precision: tuple[torch.dtype, float],
    make_model: MakeModel,
    make_batch: MakeBatch,
    twins: Callable[..., Any],
) -> None:
    dtype, tolerance = precision
    ours = make_model(1, dtype=dtype, norm=norm, is_joint=is_joint, encoder_layers=3, decoder_layers=2)
    pair = twins(ours, torch_transformer(norm, dtype))
    src_ids, src_mask, tgt_in = make_batch(1)
    src, tgt = ours.src_input(src_ids), ours.tgt_input(tgt_in)
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)

    logits = ours(src_ids, src_mask, tgt_in)
    out = pair.theirs(
        src,
        tgt,
        tgt_mask=hidden,
        tgt_is_causal=True,
        src_key_padding_mask=~src_mask,
        memory_key_padding_mask=~src_mask,
    )
    expected = out @ ours.tgt_input.embedding.weight.T
    torch.testing.assert_close(logits, expected, atol=tolerance, rtol=tolerance)

    gradient = torch.randn_like(logits)
    embeddings = list({ours.src_input.embedding.weight, ours.tgt_input.embedding.weight})
    of_embeddings = torch.autograd.grad(logits, embeddings, gradient, retain_graph=True)
    expected_of_embeddings = torch.autograd.grad(expected, embeddings, gradient, retain_graph=True)
    torch.testing.assert_close(of_embeddings, expected_of_embeddings, atol=20 * tolerance, rtol=20 * tolerance)
    logits.backward(gradient)
    expected.backward(gradient)
    pair.assert_same_gradients(20 * tolerance)


@both_norms
def test_no_position_sees_a_later_one(norm: Norm, make_model: MakeModel, make_batch: MakeBatch) -> None:
    model = make_model(2, norm=norm)
    src_ids, src_mask, tgt_in = make_batch(2, sizes=(3, 5, 9))
    logits = model(src_ids, src_mask, tgt_in)
    for t in range(8):
        changed = tgt_in.clone()
        changed[:, t + 1 :] = (changed[:, t + 1 :] + 1) % 23
        after = model(src_ids, src_mask, changed)
        assert torch.equal(after[:, : t + 1], logits[:, : t + 1]), t
        assert not torch.isclose(after[:, t + 1], logits[:, t + 1]).all(dim=-1).any(), t


@both_norms
def test_padding_changes_nothing(norm: Norm, make_model: MakeModel, make_batch: MakeBatch) -> None:
    model = make_model(3, norm=norm)
    src_ids, src_mask, tgt_in = make_batch(3)
    logits = model(src_ids, src_mask, tgt_in)
    for sentence, length in enumerate(src_mask.sum(dim=1).tolist()):
        real = slice(sentence, sentence + 1), slice(length)
        alone = model(src_ids[real], src_mask[real], tgt_in[real[0]])
        torch.testing.assert_close(alone, logits[real[0]], atol=1e-12, rtol=0)
    for src_more, tgt_more in [(0, 50), (1, 0), (3, 1), (50, 0), (17, 31)]:
        garbage = torch.randint(0, 23, (4, 7 + src_more))
        garbage[:, :7] = torch.where(src_mask, src_ids, garbage[:, :7])
        mask = torch.cat([src_mask, torch.zeros(4, src_more, dtype=torch.bool)], dim=1)
        longer = torch.cat([tgt_in, torch.randint(0, 23, (4, tgt_more))], dim=1)
        torch.testing.assert_close(model(garbage, mask, longer)[:, :6], logits, atol=1e-12, rtol=0)


@both_norms
def test_permuting_the_batch_permutes_the_logits(norm: Norm, make_model: MakeModel, make_batch: MakeBatch) -> None:
    model, batch, order = make_model(4, norm=norm), make_batch(4), torch.tensor([2, 0, 3, 1])
    permuted = model(*(tensor[order] for tensor in batch))
    torch.testing.assert_close(permuted, model(*batch)[order], atol=1e-12, rtol=0)


@both_norms
@pytest.mark.usefixtures("one_thread")
@torch.no_grad()
def test_permuting_sentences_of_one_length_changes_no_bit(norm: Norm, make_model: MakeModel) -> None:
    model, order = make_model(4, dtype=torch.float32, norm=norm), torch.randperm(12)
    src_ids, tgt_in = torch.randint(4, 23, (12, 9)), torch.randint(4, 23, (12, 7))
    batch = src_ids, torch.ones_like(src_ids, dtype=torch.bool), tgt_in
    assert torch.equal(model(*(tensor[order] for tensor in batch)), model(*batch)[order])


@pytest.mark.slow
@both_norms
@pytest.mark.parametrize("is_joint", [True, False])
def test_the_gradient_of_every_weight_is_that_of_finite_differences(
    norm: Norm, is_joint: bool, make_model: MakeModel, make_batch: MakeBatch
) -> None:
    """Through every module and the loss, with every dropout on and its mask the same each time."""
    sizes = {"d_model": 4, "num_heads": 2, "d_ff": 3, "encoder_layers": 1, "decoder_layers": 1}
    dropouts = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.2)
    model = make_model(1, norm=norm, is_joint=is_joint, **sizes, **dropouts)
    src_ids, src_mask, tgt_in = make_batch(1, sizes=(2, 3, 3))

    def loss(*_: Tensor) -> Tensor:
        torch.manual_seed(5)
        logits = model(src_ids, src_mask, tgt_in)
        return nn.functional.cross_entropy(logits.flatten(0, 1), tgt_in.flatten(), label_smoothing=0.1, reduction="sum")

    assert torch.autograd.gradcheck(loss, tuple(model.parameters()), atol=1e-6, rtol=1e-6)


@both_norms
@pytest.mark.parametrize("width", [1, 3])
@torch.no_grad()
def test_step_by_step_equals_all_at_once(norm: Norm, width: int, make_model: MakeModel, make_batch: MakeBatch) -> None:
    """The state remembers what it should while hypotheses are reordered and sentences dropped, as in a search."""
    model = make_model(5, norm=norm)
    src_ids, src_mask, _ = make_batch(5, sizes=(5, 6, 1))
    state = model.start(src_ids, src_mask)
    prefixes = torch.zeros(5, 0, dtype=torch.long)
    keep_at = {3: [0, 4, 2, 3], 6: [1, 3], 11: [1]}
    for t in range(16):
        prev_ids = torch.randint(4, 23, (len(prefixes),))
        prefixes = torch.cat([prefixes, prev_ids[:, None]], dim=1)
        logits, state = model.step(prev_ids, state)
        rows_per_sentence = len(prefixes) // len(src_ids)  # one at first
        every_row = (tensor.repeat_interleave(rows_per_sentence, dim=0) for tensor in (src_ids, src_mask))
        torch.testing.assert_close(logits, model(*every_row, prefixes)[:, -1], atol=1e-10, rtol=0, msg=f"step {t}")
        assert state.length == t + 1

        kept = keep_at.get(t, list(range(len(src_ids))))
        parents = torch.randint(rows_per_sentence, (len(kept), width))
        rows = (parents + torch.tensor(kept)[:, None] * rows_per_sentence).flatten()
        state, prefixes = state.select(rows, torch.tensor(kept)), prefixes[rows]
        src_ids, src_mask = src_ids[kept], src_mask[kept]


@torch.no_grad()
def test_a_state_is_a_value(make_model: MakeModel, make_batch: MakeBatch) -> None:
    """Two steps from one state are two futures of the same past; a selection leaves the state it came from alone."""
    model, (src_ids, src_mask, tgt_in) = make_model(6), make_batch(6)
    _, state = model.step(tgt_in[:, 0], model.start(src_ids, src_mask))
    first = model.step(tgt_in[:, 1], state)[0]
    model.step(tgt_in[:, 2], state)
    state.select(torch.tensor([3, 2, 1, 0]), torch.tensor([3, 2, 1, 0]))
    assert torch.equal(model.step(tgt_in[:, 1], state)[0], first)


@both_norms
def test_gradients_reach_every_parameter(norm: Norm, make_model: MakeModel, make_batch: MakeBatch) -> None:
    model = make_model(7, norm=norm, dropout=0.1, attention_dropout=0.1, activation_dropout=0.1, is_joint=False)
    logits = model(*make_batch(7))
    nn.functional.cross_entropy(logits.flatten(0, 1), torch.arange(24) % 23).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not without


def test_every_dropout_is_off_outside_training(make_model: MakeModel, make_batch: MakeBatch) -> None:
    batch = make_batch(8)
    plain = make_model(8)(*batch)
    for kind in ("dropout", "attention_dropout", "activation_dropout"):
        model = make_model(8, **{kind: 0.3})
        assert not torch.equal(model(*batch), model(*batch)), kind
        assert torch.equal(model.eval()(*batch), plain), kind


# --- weights ---------------------------------------------------------------------------------------------------------


def test_tied_weights_are_one_parameter(make_model: MakeModel) -> None:
    joint, separate = make_model(vocab_sizes=(23, 23)), make_model(is_joint=False, vocab_sizes=(31, 23))
    for model in (joint, separate):
        assert model.output.weight is model.tgt_input.embedding.weight
        assert model.output.weight.shape == (23, 16)
    assert joint.src_input.embedding.weight is joint.tgt_input.embedding.weight
    assert separate.src_input.embedding.weight.shape == (31, 16)
    counts = [sum(weight.numel() for weight in model.parameters()) for model in (separate, joint)]
    assert counts[0] - counts[1] == 31 * 16


def expected_size(settings: ModelSettings, num_embeddings: int) -> int:
    """Numbers in a model: embeddings, attention (4 matrices), feed-forward (2), a norm for each sub-layer."""
    d, f = settings.d_model, settings.d_ff
    attention, feed_forward, norm = 4 * (d * d + d), 2 * d * f + f + d, 2 * d
    encoder = settings.encoder_layers * (attention + feed_forward + 2 * norm)
    decoder = settings.decoder_layers * (2 * attention + feed_forward + 3 * norm)
    return num_embeddings * d + encoder + decoder + (2 * norm if settings.norm == "pre" else 0)


@both_norms
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_have_the_sizes_of_the_literature(preset: Literal["tiny", "small", "base", "big"], norm: Norm) -> None:
    settings = ModelSettings(preset=preset, norm=norm)
    with torch.device("meta"):
        model = build_transformer(settings, src_vocab_size=37000, tgt_vocab_size=37000, pad_id=0, is_joint=True)
    assert sum(weight.numel() for weight in model.parameters()) == expected_size(settings, 37000)
    if preset == "base":
        layer = model.encoder[0]
        assert (len(model.encoder), len(model.decoder), model.output.weight.size(1)) == (6, 6, 512)
        assert (layer.self_attention.num_heads, layer.feed_forward.inner.weight.size(0)) == (8, 2048)
    if preset == "base" and norm == "post":
        # Table 3 says 65 · 10⁶, of 37,000 pieces or so.
        assert expected_size(settings, 37000) == pytest.approx(65e6, rel=0.05)


@torch.no_grad()
def test_fresh_weights_have_the_deviations_they_should() -> None:
    torch.manual_seed(0)
    settings = ModelSettings(d_model=64, num_heads=4, d_ff=256, encoder_layers=1, decoder_layers=1, dropout=0.0)
    model = build_transformer(settings, src_vocab_size=500, tgt_vocab_size=400, pad_id=0, is_joint=False)
    for embedding in (model.src_input.embedding, model.tgt_input.embedding):
        assert float(embedding.weight.std()) == pytest.approx(64**-0.5, rel=0.05)
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            assert set(weight.tolist()) == ({1.0} if "norm.weight" in name else {0.0}), name
        elif "embedding" not in name:
            bound = (6 / sum(weight.shape)) ** 0.5
            assert 0.95 * bound < weight.abs().max() <= bound, name
    logits = model(torch.randint(4, 400, (8, 10)), torch.ones(8, 10, dtype=torch.bool), torch.randint(4, 400, (8, 10)))
    assert 0.5 < logits.std() < 2
