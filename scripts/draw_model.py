"""Draw the pictures of mtx/model/README.md from the real model: masks, positions, attention on the "it" sentences.

python scripts/draw_model.py runs/demo mtx/model/pictures
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel, find_model, load_model
from mtx.config.decoding import DecodeOptions
from mtx.decode.search import greedy_search
from mtx.model.attention import MultiHeadAttention, causal_mask
from mtx.model.layers import sinusoids

SENTENCES = (
    "The animal didn't cross the street because it was too tired.",
    "The animal didn't cross the street because it was too wide.",
)


def draw_masks(path: Path) -> None:
    """Draw the causal mask, and the mask of padded sources."""
    lengths = torch.tensor([7, 4, 6])
    src_mask = torch.arange(7) < lengths[:, None]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), width_ratios=(1, 1))
    left.imshow(causal_mask(7)[0, 0], cmap="Blues", vmin=-0.2, vmax=1.2)
    left.set(title="causal mask (T, T)", xlabel="position looked at", ylabel="position that looks")
    right.imshow(src_mask, cmap="Blues", vmin=-0.2, vmax=1.2)
    right.set(title="source mask (B, S)", xlabel="source position", ylabel="sentence", yticks=range(3))
    figure.suptitle("dark = True = may be attended to")
    save(figure, path)


def draw_positions(path: Path) -> None:
    """Draw the table of position encodings: sine half, cosine half."""
    figure, axes = plt.subplots(figsize=(8, 3.4))
    image = axes.imshow(sinusoids(101, 128)[1:], aspect="auto", cmap="RdBu", vmin=-1, vmax=1)
    axes.set(title="position encodings, d_model 128", xlabel="dimension: 64 sines, 64 cosines", ylabel="position")
    figure.colorbar(image)
    save(figure, path)


def draw_attention(trained: TrainedModel, path: Path) -> None:
    """Draw where encoder and decoder look to resolve "it" in two sentences that differ in the last word."""
    figure, grid = plt.subplots(2, 2, figsize=(11, 7.2))
    for row, sentence in zip(grid, SENTENCES, strict=True):
        ids, translation, encoder, cross = attention_of(trained, sentence)
        src = [*trained.tokenizer.src_pieces.id_to_piece(ids), "</s>"]
        tgt = [trained.tokenizer.tgt_pieces.id_to_piece(id_) for id_ in translation]
        it = src.index("▁it")
        pronoun = next(place for place, piece in enumerate(tgt) if piece in ("▁er", "▁sie", "▁es"))
        for axes, weights_LHK, title in (
            (row[0], encoder[:, :, it], 'encoder self-attention of "it"'),
            (row[1], cross[:, :, pronoun], f'cross-attention while writing "{tgt[pronoun][1:]}"'),
        ):
            rows_XK = weights_LHK.flatten(0, 1)
            axes.imshow(rows_XK, cmap="Blues", vmin=0, vmax=1, aspect="auto")
            axes.set_xticks(range(len(src)), src, rotation=60, ha="right", fontsize=8)
            num_heads = weights_LHK.size(1)
            names = [f"layer {x // num_heads + 1} head {x % num_heads + 1}" for x in range(len(rows_XK))]
            axes.set_yticks(range(len(names)), names, fontsize=7)
            axes.set_title(title, fontsize=9)
        row[0].set_ylabel(trained.tokenizer.decode([translation])[0], fontsize=8)
    save(figure, path)


@torch.no_grad()
def attention_of(trained: TrainedModel, sentence: str) -> tuple[list[int], list[int], Tensor, Tensor]:
    """Translate a sentence; return source ids, translation, encoder and cross-attention weights (L, H, Q, K)."""
    tokenizer, model = trained.tokenizer, trained.model
    ids = tokenizer.encode_src([sentence])[0]
    src_ids = torch.tensor([[*ids, tokenizer.eos_id]])
    src_mask = torch.ones_like(src_ids, dtype=torch.bool)
    symbols = {"bos_id": tokenizer.bos_id, "eos_id": tokenizer.eos_id}
    translation = greedy_search(model, src_ids, src_mask, DecodeOptions(), **symbols)[0][0].ids
    seen: dict[MultiHeadAttention, Tensor] = {}

    def keep_weights(module: MultiHeadAttention, inputs: tuple[Tensor, Tensor, Tensor | None]) -> None:
        seen[module] = module.weights(*inputs)[0]

    attentions = [layer.self_attention for layer in model.encoder] + [layer.cross_attention for layer in model.decoder]
    hooks = [attention.register_forward_pre_hook(keep_weights) for attention in attentions]
    model(src_ids, src_mask, torch.tensor([[tokenizer.bos_id, *translation]]))
    for hook in hooks:
        hook.remove()
    encoder = torch.stack([seen[layer.self_attention] for layer in model.encoder])
    cross = torch.stack([seen[layer.cross_attention] for layer in model.decoder])
    return ids, translation, encoder, cross


def save(figure: "plt.Figure", path: Path) -> None:
    """Write a PNG without a date, so that it is reproducible."""
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    print(path)


if __name__ == "__main__":
    run, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    draw_masks(folder / "masks.png")
    draw_positions(folder / "positions.png")
    draw_attention(load_model(find_model(run, run)), folder / "it.png")
