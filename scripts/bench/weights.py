"""Conversion of mtx model folders for CTranslate2 and transformers: the same numbers under other names.

Runs in the peers' Python, without mtx: it reads only the files of the model folder.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

NUM_POSITIONS = 1024
EPSILON = 1e-5
"""Epsilon of every layer normalisation: torch's default, used by mtx and M2M100; CTranslate2 needs it explicitly."""

M2M100_NAMES = {
    "src_input.embedding": "model.shared",
    "encoder_norm": "model.encoder.layer_norm",
    "decoder_norm": "model.decoder.layer_norm",
    "encoder.": "model.encoder.layers.",
    "decoder.": "model.decoder.layers.",
    "self_attention": "self_attn",
    "cross_attention": "encoder_attn",
    "self_residual.norm": "self_attn_layer_norm",
    "cross_residual.norm": "encoder_attn_layer_norm",
    "ff_residual.norm": "final_layer_norm",
    "feed_forward.inner": "fc1",
    "feed_forward.outer": "fc2",
}


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read `config.json` and the tensors of a model folder."""
    from safetensors.numpy import load_file

    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors: dict[str, Array] = load_file(folder / "model.safetensors")
    return config, tensors


def positions(first_row: int, d_model: int) -> Array:
    """Compute mtx's position encodings (sine half, cosine half), beginning with the row of a sentence's first token.

    Shapes:
        return: (NUM_POSITIONS, d_model)
    """
    half = d_model // 2
    frequencies = np.exp(np.arange(half) * -(math.log(10000.0) / max(half - 1, 1)))
    angles = np.arange(first_row, first_row + NUM_POSITIONS)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def load_pieces(folder: Path) -> tuple[Any, Any]:
    """Load the SentencePiece models of source and target; a joint model is returned twice."""
    from sentencepiece import SentencePieceProcessor

    if (folder / "spm.model").exists():
        joint = SentencePieceProcessor(model_file=str(folder / "spm.model"))
        return joint, joint
    src, tgt = (SentencePieceProcessor(model_file=str(folder / name)) for name in ("source.spm", "target.spm"))
    return src, tgt


def read_decoding(folder: Path) -> dict[str, Any]:
    """Read the decoding settings of a model folder: length penalty, longest output."""
    decoding: dict[str, Any] = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))["decode"]
    return decoding


def longest_output(decoding: dict[str, Any], num_pieces: int) -> int:
    """Return the most tokens, end symbol included, that a source of `num_pieces` pieces may be translated to."""
    return int(decoding["max_length_factor"] * (num_pieces + 1)) + int(decoding["max_length_extra"])


# --- CTranslate2 ---


def to_ctranslate2(folder: Path, out: Path) -> None:
    """Write the model of `folder` as a CTranslate2 model in float32; CTranslate2 may quantise it when loading."""
    import ctranslate2

    config, tensors = read_folder(folder)
    sizes = config["model"]
    spec = ctranslate2.specs.TransformerSpec.from_config(
        (sizes["encoder_layers"], sizes["decoder_layers"]), sizes["num_heads"], pre_norm=sizes["norm"] == "pre"
    )
    src = tensors["src_input.embedding.weight"]
    tgt = tensors.get("tgt_input.embedding.weight", src)
    spec.encoder.embeddings[0].weight = src
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = tgt
    for name, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        stack.position_encodings.encodings = positions(config["pad_id"] + 1, sizes["d_model"])
        if sizes["norm"] == "pre":
            _set_norm(stack.layer_norm, tensors, f"{name}_norm")
        for index, layer in enumerate(stack.layer):
            _set_layer(layer, tensors, f"{name}.{index}")
    _set_vocabulary(spec, folder, config)
    spec.validate()
    spec.optimize()
    out.mkdir(parents=True)
    spec.save(str(out))


def _set_vocabulary(spec: Any, folder: Path, config: dict[str, Any]) -> None:
    src_pieces, tgt_pieces = load_pieces(folder)
    for pieces, register in (
        (src_pieces, spec.register_source_vocabulary),
        (tgt_pieces, spec.register_target_vocabulary),
    ):
        register([pieces.id_to_piece(index) for index in range(pieces.get_piece_size())])
    spec.config.bos_token = spec.config.decoder_start_token = tgt_pieces.id_to_piece(config["bos_id"])
    spec.config.eos_token = tgt_pieces.id_to_piece(config["eos_id"])
    spec.config.unk_token = tgt_pieces.id_to_piece(tgt_pieces.unk_id())
    spec.config.add_source_eos = True
    spec.config.layer_norm_epsilon = EPSILON


def _set_layer(layer: Any, tensors: dict[str, Array], name: str) -> None:
    own, other = f"{name}.self_attention", f"{name}.cross_attention"
    _set_linear(layer.self_attention.linear[0], tensors, *(f"{own}.{side}_proj" for side in "qkv"))
    _set_linear(layer.self_attention.linear[1], tensors, f"{own}.out_proj")
    _set_norm(layer.self_attention.layer_norm, tensors, f"{name}.self_residual.norm")
    if hasattr(layer, "attention"):
        _set_linear(layer.attention.linear[0], tensors, f"{other}.q_proj")
        _set_linear(layer.attention.linear[1], tensors, f"{other}.k_proj", f"{other}.v_proj")
        _set_linear(layer.attention.linear[2], tensors, f"{other}.out_proj")
        _set_norm(layer.attention.layer_norm, tensors, f"{name}.cross_residual.norm")
    _set_linear(layer.ffn.linear_0, tensors, f"{name}.feed_forward.inner")
    _set_linear(layer.ffn.linear_1, tensors, f"{name}.feed_forward.outer")
    _set_norm(layer.ffn.layer_norm, tensors, f"{name}.ff_residual.norm")


def _set_linear(spec: Any, tensors: dict[str, Array], *names: str) -> None:
    """Stack layers that share an input into one."""
    spec.weight = np.concatenate([tensors[f"{name}.weight"] for name in names])
    spec.bias = np.concatenate([tensors[f"{name}.bias"] for name in names])


def _set_norm(spec: Any, tensors: dict[str, Array], name: str) -> None:
    spec.gamma, spec.beta = tensors[f"{name}.weight"], tensors[f"{name}.bias"]


# --- transformers ---


def fits_m2m100(folder: Path) -> bool:
    """Check that M2M100 can hold this model: pre-norm layers, one vocabulary for both sides."""
    config, _ = read_folder(folder)
    return config["model"]["norm"] == "pre" and bool(config["is_joint"])


def to_m2m100(folder: Path) -> Any:
    """Load the model of `folder` as a transformers `M2M100ForConditionalGeneration` in float32."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    config, tensors = read_folder(folder)
    sizes = config["model"]
    model = M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=config["src_vocab_size"],
            d_model=sizes["d_model"],
            encoder_layers=sizes["encoder_layers"],
            decoder_layers=sizes["decoder_layers"],
            encoder_attention_heads=sizes["num_heads"],
            decoder_attention_heads=sizes["num_heads"],
            encoder_ffn_dim=sizes["d_ff"],
            decoder_ffn_dim=sizes["d_ff"],
            encoder_layerdrop=0.0,
            decoder_layerdrop=0.0,
            max_position_embeddings=NUM_POSITIONS,
            pad_token_id=config["pad_id"],
            bos_token_id=config["bos_id"],
            eos_token_id=config["eos_id"],
            decoder_start_token_id=config["bos_id"],
        )
    )
    weights = {to_m2m100_name(name): torch.from_numpy(tensor) for name, tensor in tensors.items()}
    left = model.load_state_dict(weights, strict=False)
    tied = {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"}
    if left.unexpected_keys or not set(left.missing_keys) <= tied:
        raise ValueError(f"layers of M2M100 and this model differ: {left}")
    first = config["pad_id"] + 1
    for stack in (model.model.encoder, model.model.decoder):
        table = torch.from_numpy(positions(first, sizes["d_model"]))
        stack.embed_positions.weights[first : first + NUM_POSITIONS] = table
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = EPSILON
    return model.eval()


def to_m2m100_name(name: str) -> str:
    """Translate a tensor name to that of M2M100."""
    for ours, theirs in M2M100_NAMES.items():
        # Names with a dot are prefixes: "encoder." must not match inside a name.
        if not ours.endswith(".") or name.startswith(ours):
            name = name.replace(ours, theirs, 1)
    return name
