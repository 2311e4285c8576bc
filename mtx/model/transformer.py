"""The encoder-decoder Transformer: the whole of Figure 1, and decoding step by step.

The letters of the shapes are explained in `mtx.model`.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from mtx.config.settings import ModelSettings
from mtx.model.attention import MultiHeadAttention, penalty_of
from mtx.model.layers import DecoderLayer, EncoderLayer, FeedForward, InputLayer, Residual
from mtx.model.linear import Linear
from mtx.model.state import DecoderState

TOKENS_TO_ENCODE = 1024
"""Source tokens that are encoded at once for decoding on a CPU."""


class Transformer(nn.Module):
    """Encoder, decoder and output layer over two input layers.

    `norm="pre"` adds the closing layer normalisation that this layout needs on both stacks. The output layer is the
    target embedding, transposed (section 3.4); with one vocabulary for both sides the two embeddings are one too.
    """

    def __init__(
        self,
        src_input: InputLayer,
        tgt_input: InputLayer,
        encoder: list[EncoderLayer],
        decoder: list[DecoderLayer],
        closing_norms: tuple[nn.Module, nn.Module],
    ) -> None:
        super().__init__()
        self.src_input = src_input
        self.tgt_input = tgt_input
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.encoder_norm, self.decoder_norm = closing_norms
        self.output = tied_output(tgt_input.embedding)

    def forward(self, src_ids: Tensor, src_mask: Tensor, tgt_in: Tensor) -> Tensor:
        """Logits of every next token, given all source tokens and the target tokens so far.

        Shapes:
            src_ids, src_mask: (B, S)
            tgt_in:            (B, T), begins with the start symbol
            return:            (B, T, V), unnormalised; position t answers after tgt_in[:, : t + 1]
        """
        return self.project(self.decode(tgt_in, self.encode(src_ids, src_mask), src_mask))

    def encode(self, src_ids: Tensor, src_mask: Tensor) -> Tensor:
        """The memory that the decoder attends to. Shapes: (B, S) -> (B, S, D)."""
        x = self.src_input(src_ids)
        mask_B11S = src_mask[:, None, None, :]
        for layer in self.encoder:
            x = layer(x, mask_B11S)
        memory: Tensor = self.encoder_norm(x)
        return memory

    def decode(self, tgt_in: Tensor, memory: Tensor, src_mask: Tensor) -> Tensor:
        """The decoder's last hidden states, all positions at once. Shapes: (B, T), (B, S, D) -> (B, T, D)."""
        x = self.tgt_input(tgt_in)
        mask_B11S = src_mask[:, None, None, :]
        for layer in self.decoder:
            x = layer(x, memory, mask_B11S)
        hidden: Tensor = self.decoder_norm(x)
        return hidden

    def project(self, hidden: Tensor) -> Tensor:
        """The output layer before its softmax. Shapes: (…, D) -> (…, V)."""
        logits: Tensor = self.output(hidden)
        return logits

    def start(self, src_ids: Tensor, src_mask: Tensor) -> DecoderState:
        """Encode the source, and get ready for the first step of one row a sentence.

        Shapes:
            src_ids, src_mask: (B, S), each sentence with a real token
        """
        memories = [
            self.encode(src_ids[rows, :length], src_mask[rows, :length]) for rows, length in _parts_to_encode(src_mask)
        ]
        layers = tuple(layer.start(memories, src_ids.size(1)) for layer in self.decoder_layers())
        return DecoderState.start(layers, src_mask[:, None, None, :])

    def step(self, prev_ids: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Logits of the next token after `prev_ids`, which follow all that `state` remembers; equal to `forward` there.

        Shapes:
            prev_ids: (R,)
            return:   (R, V), the state one position on
        """
        x_RD = self.tgt_input(prev_ids[:, None], first_position=state.length)[:, 0]
        num_heads = self.decoder_layers()[0].cross_attention.num_heads
        penalty_U1S = penalty_of(state.mask_B11S, x_RD.dtype, num_heads)
        layers = []
        for layer, layer_state in zip(self.decoder_layers(), state.layers, strict=True):
            x_RD, layer_state = layer.step(x_RD, layer_state, state.num_recent, penalty_U1S)
            layers.append(layer_state)
        logits_RV = self.project(self.decoder_norm(x_RD))
        return logits_RV, state.grown(tuple(layers), len(prev_ids))

    def decoder_layers(self) -> list[DecoderLayer]:
        """Both stacks are lists of modules to torch; this one with its type."""
        return list(self.decoder)  # type: ignore[arg-type]


def _parts_to_encode(src_mask: Tensor) -> Iterator[tuple[slice, int]]:
    """Which sentences are encoded at once for decoding, and how many of their positions.

    On a CPU a few, whose activations stay in its cache and which are padded for the longest of them alone: where they
    are sorted by length, that is hardly any padding.
    """
    if src_mask.device.type != "cpu":
        yield slice(0, len(src_mask)), src_mask.size(1)
        return
    lengths: list[int] = (src_mask * torch.arange(1, src_mask.size(1) + 1)).amax(dim=1).clamp(min=1).tolist()
    first = 0
    while first < len(lengths):
        rows = slice(first, first + max(1, TOKENS_TO_ENCODE // max(lengths[first:])))
        yield rows, max(lengths[rows])
        first = rows.stop


def tied_output(embedding: nn.Embedding) -> Linear:
    """The output layer that shares the matrix of `embedding`, section 3.4."""
    weight: nn.Parameter = embedding.weight  # type: ignore[assignment]
    return Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False, weight=weight)


def build_transformer(
    settings: ModelSettings, *, src_vocab_size: int, tgt_vocab_size: int, pad_id: int, is_joint: bool
) -> Transformer:
    """A Transformer of the sizes in `settings`, freshly initialised from torch's random state."""

    def attention() -> MultiHeadAttention:
        return MultiHeadAttention(settings.d_model, settings.num_heads, settings.attention_dropout)

    def feed_forward() -> FeedForward:
        return FeedForward(settings.d_model, settings.d_ff, settings.activation_dropout)

    def residuals(count: int) -> list[Residual]:
        return [Residual(settings.d_model, settings.dropout, settings.norm) for _ in range(count)]

    def closing_norm() -> nn.Module:
        return nn.LayerNorm(settings.d_model) if settings.norm == "pre" else nn.Identity()

    tgt_embedding = nn.Embedding(tgt_vocab_size, settings.d_model)
    src_embedding = tgt_embedding if is_joint else nn.Embedding(src_vocab_size, settings.d_model)
    model = Transformer(
        InputLayer(src_embedding, pad_id, settings.dropout),
        InputLayer(tgt_embedding, pad_id, settings.dropout),
        [EncoderLayer(attention(), feed_forward(), residuals(2)) for _ in range(settings.encoder_layers)],
        [DecoderLayer(attention(), attention(), feed_forward(), residuals(3)) for _ in range(settings.decoder_layers)],
        (closing_norm(), closing_norm()),
    )
    initialise(model)
    return model


def initialise(model: Transformer) -> None:
    """Fresh embeddings: normal with deviation 1/√D; all other weights are made fresh by their own modules.

    The input layer multiplies by √D, so embeddings enter the residual stream with deviation 1, as positions do,
    while logits start near deviation 1 at the output layer, which shares the matrix.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
