"""torch's own nn.Transformer in a plain loop, assembled as in its tutorial.

usage: torch_train.py WORK_FOLDER --precision bf16
"""

import math

import torch
from torch import Tensor, nn

from scripts.bench.peers.plain_loop import Forward, Work, run


class Translator(nn.Module):
    """Embedding, sinusoids, nn.Transformer and an output layer tied to the embedding."""

    positions: Tensor

    def __init__(self, work: Work) -> None:
        super().__init__()
        sizes = work.model
        d_model = sizes["d_model"]
        self.pad_id = work.pad_id
        self.embedding = nn.Embedding(work.vocab_size, d_model, padding_idx=work.pad_id)
        nn.init.normal_(self.embedding.weight, std=d_model**-0.5)
        self.dropout = nn.Dropout(sizes["dropout"])
        self.transformer = nn.Transformer(
            d_model,
            sizes["num_heads"],
            sizes["encoder_layers"],
            sizes["decoder_layers"],
            sizes["d_ff"],
            sizes["dropout"],
            batch_first=True,
        )
        for module in self.transformer.modules():  # nn.Transformer takes a single p for all dropouts
            if isinstance(module, nn.MultiheadAttention):
                module.dropout = sizes["attention_dropout"]
            elif isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
                module.dropout.p = sizes["activation_dropout"]
        self.output = nn.Linear(d_model, work.vocab_size, bias=False)
        self.output.weight = self.embedding.weight
        angles = torch.arange(work.max_length)[:, None] * torch.exp(
            torch.arange(0, d_model, 2) * (-math.log(10000) / d_model)
        )
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1))

    def forward(self, src_ids: Tensor, tgt_in: Tensor) -> Tensor:
        """Compute the logits of every next token. Shapes: (B, S), (B, T) -> (B, T, V)."""
        length = tgt_in.size(1)
        causal = torch.ones(length, length, dtype=torch.bool, device=tgt_in.device).triu(1)
        src_padding, tgt_padding = src_ids == self.pad_id, tgt_in == self.pad_id
        hidden = self.transformer(
            self._embed(src_ids),
            self._embed(tgt_in),
            tgt_mask=causal,
            src_key_padding_mask=src_padding,
            tgt_key_padding_mask=tgt_padding,
            memory_key_padding_mask=src_padding,
        )
        logits: Tensor = self.output(hidden)
        return logits

    def _embed(self, ids: Tensor) -> Tensor:
        scaled = self.embedding(ids) * math.sqrt(self.embedding.embedding_dim)
        embedded: Tensor = self.dropout(scaled + self.positions[: ids.size(1)])
        return embedded


def build(work: Work) -> tuple[nn.Module, Forward]:
    """Build a fresh model with the sizes of `work`."""
    model = Translator(work)
    return model, model


if __name__ == "__main__":
    run(build)
