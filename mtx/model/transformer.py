"""The encoder-decoder Transformer: all of Figure 1, and decoding step by step.

The letters of the shapes are explained in `mtx.model`.
"""

import torch
from torch import Tensor, nn

from mtx.config.settings import ModelSettings
from mtx.model.attention import MultiHeadAttention, causal_mask
from mtx.model.cache import DecoderState, LayerCache
from mtx.model.layers import DecoderLayer, EncoderLayer, FeedForward, InputLayer, Residual


class Transformer(nn.Module):
    """Encoder, decoder and output layer over two input layers.

    `norm="pre"` adds the closing layer normalisation that this layout needs after both stacks. The output layer is the
    target embedding, transposed (section 3.4); if both sides share one vocabulary, they share one embedding too.
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
        self.output = nn.Linear(tgt_input.embedding.embedding_dim, tgt_input.embedding.num_embeddings, bias=False)
        self.output.weight = tgt_input.embedding.weight

    def forward(self, src_ids: Tensor, src_mask: Tensor, tgt_in: Tensor) -> Tensor:
        """Logits of every next token, given all source tokens and the target tokens so far.

        Shapes:
            src_ids, src_mask: (B, S), mask: True = real token
            tgt_in:            (B, T), begins with the start symbol
            return:            (B, T, V), unnormalised; position t predicts what follows tgt_in[:, : t + 1]
        """
        return self.output(self.decode(tgt_in, self.encode(src_ids, src_mask), src_mask))  # type: ignore[no-any-return]

    def encode(self, src_ids: Tensor, src_mask: Tensor) -> Tensor:
        """The memory that the decoder attends to. Shapes: (B, S) -> (B, S, D)."""
        x = self.src_input(src_ids)
        for layer in self.encoder:
            x = layer(x, src_mask[:, None, None, :])
        return self.encoder_norm(x)  # type: ignore[no-any-return]

    def decode(self, tgt_in: Tensor, memory: Tensor, src_mask: Tensor) -> Tensor:
        """The decoder's last hidden states, all positions at once. Shapes: (B, T), (B, S, D) -> (B, T, D)."""
        x = self.tgt_input(tgt_in)
        # The causal mask is enough: padding comes last, so no real position sees it.
        tgt_mask = causal_mask(tgt_in.size(1), tgt_in.device)
        for layer in self.decoder:
            x = layer(x, memory, src_mask[:, None, None, :], tgt_mask)
        return self.decoder_norm(x)  # type: ignore[no-any-return]

    def start(self, src_ids: Tensor, src_mask: Tensor) -> DecoderState:
        """Encode the source; the state before the first target token. Shapes: (B, S)."""
        memory = self.encode(src_ids, src_mask)
        caches = [LayerCache.start(*layer.cross_attention.project_memory(memory)) for layer in self.decoder_layers()]
        return DecoderState(tuple(caches), src_mask)

    def step(self, prev_ids: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Logits after one more target token, and the new state; equal to `forward` at that position.

        Shapes:
            prev_ids: (B,), the token at position `state.length`
            return:   (B, V)
        """
        x_B1D = self.tgt_input(prev_ids[:, None], first_position=state.length)
        caches = []
        for layer, cache in zip(self.decoder_layers(), state.layers, strict=True):
            x_B1D, cache = layer.step(x_B1D, cache, state.src_mask[:, None, None, :])
            caches.append(cache)
        return self.output(self.decoder_norm(x_B1D[:, 0])), state.append(tuple(caches))

    def decoder_layers(self) -> list[DecoderLayer]:
        """The decoder's layers with their type, which nn.ModuleList hides."""
        return list(self.decoder)  # type: ignore[arg-type]


def build_transformer(
    settings: ModelSettings, *, src_vocab_size: int, tgt_vocab_size: int, pad_id: int, is_joint: bool
) -> Transformer:
    """A Transformer of the sizes in `settings`, with new weights drawn from torch's random state."""

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
    with torch.random.fork_rng(devices=[]):  # what modules draw for themselves is drawn again by `initialise`
        model = Transformer(
            InputLayer(src_embedding, pad_id, settings.dropout),
            InputLayer(tgt_embedding, pad_id, settings.dropout),
            [EncoderLayer(attention(), feed_forward(), residuals(2)) for _ in range(settings.encoder_layers)],
            [
                DecoderLayer(attention(), attention(), feed_forward(), residuals(3))
                for _ in range(settings.decoder_layers)
            ],
            (closing_norm(), closing_norm()),
        )
    initialise(model)
    return model


def initialise(model: Transformer) -> None:
    """Draw new weights.

    | weights                   | distribution                                   |
    | ---                       | ---                                            |
    | matrices of linear maps   | Glorot-uniform: ± √(6 / (inputs + outputs))    |
    | embeddings, output matrix | normal with standard deviation 1/√D            |
    | biases                    | 0                                              |
    | layer normalisation       | gain 1, bias 0 (torch's default)               |

    The input layer multiplies embeddings by √D, so they enter the residual stream with deviation 1, as positions do,
    while logits start near deviation 1 at the output layer, which shares the matrix.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not model.output:
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
