"""Follow one sentence through the model, from text to ids to the shape of each tensor to logits.

    python scripts/walk.py

The tokenizer is trained on the first sentences of the demo corpus. The weights are random: what they predict means
nothing, but every shape is that of a trained model. `mtx/model/README.md` shows the output.
"""

from itertools import islice

import torch
from torch import Tensor, nn

from mtx.config.settings import ModelSettings, TokenizerSettings
from mtx.demo.corpus import read_demo
from mtx.model import Transformer, build_transformer
from mtx.model.attention import MultiHeadAttention, scaled_dot_product_attention
from mtx.model.layers import FeedForward, InputLayer
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer

SRC, TGT = "The dog sleeps.", "Der Hund schläft."
SIZES = ModelSettings(d_model=8, num_heads=2, d_ff=16, encoder_layers=1, decoder_layers=1)


def main() -> None:
    """Print the walk."""
    src, tgt = zip(*islice(read_demo("train"), 8000), strict=True)
    tokenizer = train_tokenizer(src, tgt, TokenizerSettings(vocab_size=2000), log=lambda _: None)
    torch.manual_seed(1)
    vocab_size = tokenizer.tgt_vocab_size
    model = build_transformer(
        SIZES, src_vocab_size=vocab_size, tgt_vocab_size=vocab_size, pad_id=tokenizer.pad_id, is_joint=True
    ).eval()
    watch(model)

    src_ids = torch.tensor([[*tokenizer.encode_src([SRC])[0], tokenizer.eos_id]])
    tgt_in = torch.tensor([[tokenizer.bos_id, *tokenizer.encode_tgt([TGT])[0]]])
    for text, ids in ((SRC, src_ids), (TGT, tgt_in)):
        listed = ids[0].tolist()
        print(f"text    {text}\npieces  {' '.join(tokenizer.src_pieces.id_to_piece(listed))}\nids     {listed}\n")
    src_mask = src_ids != tokenizer.pad_id
    for name, x in (("src_ids", src_ids), ("src_mask", src_mask), ("tgt_in", tgt_in)):
        show(name, x)
    with torch.no_grad():
        logits = model(src_ids, src_mask, tgt_in)
    show_best(logits, tokenizer)


def watch(model: Transformer) -> None:
    """Print the shapes of the steps of `model` as it takes them."""
    for name, module in model.named_modules():
        if isinstance(module, MultiHeadAttention):
            watch_attention(name, module)
        if isinstance(module, (InputLayer, FeedForward, nn.LayerNorm, nn.Linear)) and "attention" not in name:
            if isinstance(module, nn.LayerNorm) and "." in name:
                continue  # the two closing ones are enough
            module.register_forward_hook(lambda module, inputs, out, name=name: show(name, out))


def watch_attention(name: str, attention: MultiHeadAttention) -> None:
    """Print the tensors of equation 1 inside `attention`, then what it returns."""

    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: nn.Module | None) -> Tensor:
        for letter, x in (("q", q), ("k", k), ("v", v), ("q kᵀ / √P", q @ k.mT)):
            show(f"{name}: {letter}", x)
        return scaled_dot_product_attention(q, k, v, mask, dropout)

    attention.kernel = kernel
    attention.register_forward_hook(lambda module, inputs, out: show(name, out))


def show(name: str, x: Tensor) -> None:
    """Print a line."""
    print(f"{name:<42} {tuple(x.shape)}")


def show_best(logits: Tensor, tokenizer: Tokenizer) -> None:
    """Print the three most probable first tokens."""
    best = logits[0, 0].topk(3)
    pieces = tokenizer.src_pieces.id_to_piece(best.indices.tolist())
    shown = [f"{piece} {logit:.2f}" for piece, logit in zip(pieces, best.values.tolist(), strict=True)]
    print(f"\nhighest logits after <s>: {', '.join(shown)}")


if __name__ == "__main__":
    main()
