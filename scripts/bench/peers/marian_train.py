"""MarianMTModel of transformers in a plain loop, with its fastest attention.

usage: marian_train.py WORK_FOLDER --precision bf16
"""

from torch import Tensor, nn
from transformers import MarianConfig, MarianMTModel

from scripts.bench.peers.plain_loop import Forward, Work, run


def build(work: Work) -> tuple[nn.Module, Forward]:
    """Build a fresh model with the sizes of `work`."""
    sizes = work.model
    config = MarianConfig(
        vocab_size=work.vocab_size,
        decoder_vocab_size=work.vocab_size,
        max_position_embeddings=work.max_length,
        encoder_layers=sizes["encoder_layers"],
        decoder_layers=sizes["decoder_layers"],
        d_model=sizes["d_model"],
        encoder_attention_heads=sizes["num_heads"],
        decoder_attention_heads=sizes["num_heads"],
        encoder_ffn_dim=sizes["d_ff"],
        decoder_ffn_dim=sizes["d_ff"],
        dropout=sizes["dropout"],
        attention_dropout=sizes["attention_dropout"],
        activation_dropout=sizes["activation_dropout"],
        activation_function="relu",
        scale_embedding=True,
        init_std=sizes["d_model"] ** -0.5,
        pad_token_id=work.pad_id,
        bos_token_id=work.bos_id,
        eos_token_id=work.eos_id,
        decoder_start_token_id=work.bos_id,
        forced_eos_token_id=None,
        attn_implementation="sdpa",
    )
    model = MarianMTModel(config)

    def forward(src_ids: Tensor, tgt_in: Tensor) -> Tensor:
        mask = (src_ids != work.pad_id).long()
        logits: Tensor = model(input_ids=src_ids, attention_mask=mask, decoder_input_ids=tgt_in, use_cache=False).logits
        return logits

    return model, forward


if __name__ == "__main__":
    run(build)
