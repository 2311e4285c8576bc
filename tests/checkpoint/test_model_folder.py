"""Model folders: a saved model is loaded unchanged, mixed or damaged files are refused, `--model` finds the folder."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel, find_model, load_model, save_model
from mtx.checkpoint.tensors import weights_of
from mtx.config.decoding import DecodeSettings
from mtx.config.settings import ModelSettings, TokenizerSettings
from mtx.errors import ExitCode, UserError
from mtx.files.sealed import open_sealed, sealed_folder
from mtx.model import build_transformer
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer

SIZES = ModelSettings(d_model=8, num_heads=2, d_ff=12, encoder_layers=1, decoder_layers=2)


def build(tokenizer: Tokenizer, sizes: ModelSettings = SIZES) -> TrainedModel:
    torch.manual_seed(5)
    model = build_transformer(
        sizes,
        src_vocab_size=tokenizer.src_vocab_size,
        tgt_vocab_size=tokenizer.tgt_vocab_size,
        pad_id=tokenizer.pad_id,
        is_joint=tokenizer.is_joint,
    )
    generation = GenerationDefaults(decode=DecodeSettings(beam_size=3), max_source_tokens=17)
    return TrainedModel(model.eval(), tokenizer, "en", "de", generation)


def save(folder: Path, trained: TrainedModel, sizes: ModelSettings = SIZES, **weights: Tensor) -> Path:
    save_model(folder, trained, sizes, weights_of(trained.model) | weights, {"steps": [4]}, "A card.")
    return folder


@pytest.fixture
def ours(tokenizer: Tokenizer) -> TrainedModel:
    return build(tokenizer)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_model_is_the_same_after_loading(
    joint: bool, norm: str, tmp_path: Path, sentences: list[str], make_batch: Callable[..., Any]
) -> None:
    settings = TokenizerSettings(vocab_size=40, byte_fallback=False, joint=joint)
    sizes = SIZES.model_copy(update={"norm": norm})
    trained = build(train_tokenizer(sentences, sentences[::2], settings, log=print), sizes)
    save(tmp_path / "model", trained, sizes)
    loaded = load_model(tmp_path / "model")
    assert (loaded.src_lang, loaded.tgt_lang, loaded.generation) == ("en", "de", trained.generation)
    assert loaded.tokenizer.files == trained.tokenizer.files
    assert not loaded.model.training
    with torch.inference_mode():
        assert loaded.model(*make_batch()).equal(trained.model(*make_batch()))
    names = set(os.listdir(tmp_path / "model"))
    own = {"spm.model"} if joint else {"source.spm", "target.spm"}
    assert names == own | {"model.safetensors", "config.json", "generation_config.json", "manifest.json", "README.md"}
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    assert set(manifest["files"]) == names - {"README.md", "manifest.json"}
    assert open_sealed(tmp_path / "model") == {"steps": [4]}


def test_the_weights_file_contains_no_time_and_no_path(tmp_path: Path, ours: TrainedModel) -> None:
    first = save(tmp_path / "first", ours)
    (tmp_path / "second").mkdir()
    second = save(tmp_path / "second" / "model", ours)
    for name in os.listdir(first):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    data = (first / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header.pop("__metadata__") == {"format": "pt"}
    assert set(header) == {name for name, _ in ours.model.named_parameters()}


def test_an_older_model_is_replaced(tmp_path: Path, ours: TrainedModel) -> None:
    save(tmp_path / "model", ours)
    (tmp_path / "model" / "old.txt").touch()
    bias = torch.full((8,), 3.0)
    save(tmp_path / "model", ours, **{"encoder_norm.bias": bias})
    assert load_model(tmp_path / "model").model.encoder_norm.bias.equal(bias)
    assert os.listdir(tmp_path) == ["model"]
    assert not (tmp_path / "model" / "old.txt").exists()


def test_files_of_different_models_are_refused(tmp_path: Path, ours: TrainedModel, sentences: list[str]) -> None:
    other_settings = TokenizerSettings(vocab_size=50, byte_fallback=False)
    other_tokenizer = train_tokenizer(sentences, [], other_settings, log=print)
    name = next(name for name, parameter in ours.model.named_parameters() if parameter.shape == (12, 8))
    nan = dict(ours.model.named_parameters())[name].detach().clone()
    nan[2, 3] = float("nan")
    folders = {
        "weights do not fit": save(tmp_path / "tokenizer", replace(ours, tokenizer=other_tokenizer)),
        r"is \(12, 8\), not \(13, 8\)": save(tmp_path / "width", ours, SIZES.model_copy(update={"d_ff": 13})),
        "is only on one side": save(tmp_path / "layers", ours, SIZES.model_copy(update={"encoder_layers": 2})),
        "numbers that are not finite": save(tmp_path / "nan", ours, **{name: nan}),
        "extra is only on one side": save(tmp_path / "extra", ours, extra=torch.zeros(1)),
    }
    for message, folder in folders.items():
        with pytest.raises(UserError, match=message) as caught:
            load_model(folder)
        assert caught.value.code == ExitCode.MODEL
        assert str(folder) in str(caught.value)


def test_missing_or_wrong_files_in_a_sealed_folder_are_refused(
    tmp_path: Path, ours: TrainedModel, sentences: list[str]
) -> None:
    """Each file in turn is missing or replaced, and the manifest matches."""
    other = train_tokenizer(sentences, [], TokenizerSettings(vocab_size=50, byte_fallback=False), log=print)
    whole = save(tmp_path / "whole", ours)
    changes: dict[str, list[bytes | None]] = {
        "model.safetensors": [None, b"junk"],
        "config.json": [None, b"{}", b"junk", b"[]"],
        "generation_config.json": [None, b"{}", b"junk"],
        "spm.model": [None, b"junk", other.files["spm.model"]],
    }
    for name, contents in changes.items():
        for content in contents:
            with sealed_folder(tmp_path / "changed", {}) as new:
                for path in whole.iterdir():
                    if path.name != "manifest.json":
                        (new / path.name).write_bytes(path.read_bytes())
                (new / name).unlink() if content is None else (new / name).write_bytes(content)
            with pytest.raises(UserError) as caught:
                load_model(tmp_path / "changed")
            assert caught.value.code == ExitCode.MODEL, (name, content)


def changed(whole: Path, folder: Path, changes: dict[str, bytes], *, seals: bool = True) -> Path:
    """Copy the folder `whole` with other files, which the manifest lists only if `seals`."""
    with sealed_folder(folder, {}, unsealed=() if seals else tuple(changes)) as new:
        for path in whole.iterdir():
            if path.name != "manifest.json":
                (new / path.name).write_bytes(changes.get(path.name, path.read_bytes()))
        for name in changes.keys() - {path.name for path in whole.iterdir()}:
            (new / name).write_bytes(changes[name])
    return folder


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "generation_config.json", "spm.model"])
def test_every_file_that_is_loaded_must_be_in_the_manifest(name: str, tmp_path: Path, ours: TrainedModel) -> None:
    whole = save(tmp_path / "whole", ours)
    folder = changed(whole, tmp_path / "changed", {name: (whole / name).read_bytes()}, seals=False)
    with pytest.raises(UserError, match=f"{name}: not in manifest.json") as caught:
        load_model(folder)
    assert caught.value.code == ExitCode.MODEL


def test_a_tokenizer_cannot_take_the_place_of_the_one_in_the_manifest(tmp_path: Path, ours: TrainedModel) -> None:
    whole = save(tmp_path / "whole", ours)
    model = (whole / "spm.model").read_bytes()
    (whole / "tokenizer.model").write_bytes(b"another, after spm.model")
    assert load_model(whole).tokenizer.files == {"spm.model": model}
    two_sided = {"source.spm": model, "target.spm": model}
    folder = changed(whole, tmp_path / "changed", two_sided)
    (folder / "spm.model").unlink()
    (folder / "spm.model").symlink_to("source.spm")
    with pytest.raises(UserError, match=r"spm\.model: not a regular file"):
        load_model(folder)


CONFIG_CLAIMS: list[tuple[str, Any, str]] = [
    ("pad_id", 10**9, "the tokenizer differ: pad_id 1000000000 and 0"),
    ("pad_id", -(10**9), "the tokenizer differ: pad_id -1000000000 and 0"),
    ("bos_id", 3, "the tokenizer differ: bos_id 3 and 2"),
    ("eos_id", 2, "the tokenizer differ: eos_id 2 and 3"),
    ("is_joint", False, "the tokenizer differ: is_joint False and True"),
    ("src_vocab_size", 10**12, "the tokenizer differ: src_vocab_size 1000000000000 and 60"),
    ("tgt_vocab_size", 59, "the tokenizer differ: tgt_vocab_size 59 and 60"),
    ("pad_id", "0", "pad_id: Input should be a valid integer"),
    ("is_joint", 1, "is_joint: Input should be a valid boolean"),
    ("src_lang", "en\x1b[2J", "src_lang: String should match"),
    ("auto_map", {"AutoModel": "code.Model"}, "auto_map: Extra inputs are not permitted"),
    ("model.class", "os.system", "model.class: Extra inputs are not permitted"),
    ("model.norm", "code.Norm", "model.norm: Input should be 'pre' or 'post'"),
    ("model.d_ff", 10**12, "model.d_ff: Input should be less than or equal to 262144"),
    ("model.d_ff", 262_144, r"inner.weight is \(12, 8\), not \(262144, 8\)"),
    ("model.encoder_layers", 200, "is only on one side"),
    ("decode.beam_size", 10**6, "decode.beam_size: Input should be less than or equal to 1000"),
    ("decode.max_length_factor", 1e9, "decode.max_length_factor: Input should be less than or equal to 20"),
    ("max_source_tokens", 10**9, "max_source_tokens: Input should be less than or equal to 100001"),
    ("max_source_tokens", 0, "max_source_tokens: Input should be greater than or equal to 2"),
]


@pytest.mark.parametrize(
    ("key", "advice"), [("nucleus", "Use the version of mtx that wrote it"), ("beam_size", "Copy")]
)
def test_a_key_that_this_version_lacks_was_written_by_another(
    key: str, advice: str, tmp_path: Path, ours: TrainedModel
) -> None:
    whole = save(tmp_path / "whole", ours)
    content = json.loads((whole / "generation_config.json").read_text())
    content["decode"][key] = "unusual"
    folder = changed(whole, tmp_path / "changed", {"generation_config.json": json.dumps(content).encode()})
    with pytest.raises(UserError, match=rf"decode.{key}: .*\. {advice}"):
        load_model(folder)


@pytest.mark.parametrize(("key", "value", "message"), CONFIG_CLAIMS)
def test_a_config_that_claims_too_much_is_refused(
    key: str, value: Any, message: str, tmp_path: Path, ours: TrainedModel
) -> None:
    whole = save(tmp_path / "whole", ours)
    is_generation = key.startswith(("decode", "max_source"))
    name = "generation_config.json" if is_generation else "config.json"
    content = json.loads((whole / name).read_text())
    *above, last = key.split(".")
    (content[above[0]] if above else content)[last] = value
    folder = changed(whole, tmp_path / "changed", {name: json.dumps(content).encode()})
    with pytest.raises(UserError, match=message) as caught:
        load_model(folder)
    assert caught.value.code == ExitCode.MODEL
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        (torch.float16, 0.5, None),
        (torch.bfloat16, 0.5, None),
        (torch.float64, 0.5, None),
        (torch.float64, 1e300, "numbers that are not finite"),
        (torch.float32, float("inf"), "numbers that are not finite"),
        (torch.int32, 1, "encoder_norm.bias is torch.int32"),
        (torch.complex64, 1, "encoder_norm.bias is torch.complex64"),
        (torch.bool, 1, "encoder_norm.bias is torch.bool"),
    ],
)
def test_weights_are_finite_numbers(
    dtype: torch.dtype, value: float, message: str | None, tmp_path: Path, ours: TrainedModel
) -> None:
    folder = save(tmp_path / "model", ours, **{"encoder_norm.bias": torch.full((8,), value, dtype=dtype)})
    if message is None:
        assert load_model(folder).model.encoder_norm.bias.equal(torch.full((8,), value))
    else:
        with pytest.raises(UserError, match=message) as caught:
            load_model(folder)
        assert caught.value.code == ExitCode.MODEL


# --- find ---


def test_find_model(tmp_path: Path, ours: TrainedModel) -> None:
    runs = tmp_path / "runs"
    old, new = save(runs / "b" / "model", ours), save(runs / "a" / "model", ours)
    (runs / "c" / "checkpoints").mkdir(parents=True)
    for when, model in ((1_000, old), (2_000, new)):
        os.utime(model / "manifest.json", (when, when))
    assert find_model(None, runs) == new
    assert find_model(runs / "b", runs) == find_model(old, runs) == old
    (tmp_path / "file").touch()
    for given, message in (
        (runs / "c", "this run has no model yet"),
        (tmp_path / "missing", "no such folder"),
        (tmp_path / "file", "not a folder"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            find_model(given, runs)
        assert caught.value.code == ExitCode.MODEL
    for nothing in (tmp_path / "missing", runs / "c"):
        with pytest.raises(UserError, match="no finished model") as caught:
            find_model(None, nothing)
        assert caught.value.code == ExitCode.MODEL


def test_unreadable_paths_are_user_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in (tmp_path / ("n" * 300), tmp_path / ("n/" * 3000), tmp_path / "\udcff"):
        with pytest.raises(UserError) as caught:
            find_model(given, tmp_path)
        assert caught.value.code == ExitCode.MODEL

    def forbidden(path: Path, **_: Any) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a" / "model").mkdir(parents=True)
    (tmp_path / "a" / "model" / "manifest.json").touch()
    monkeypatch.setattr(Path, "stat", forbidden)
    for given_or_none in (tmp_path / "a", None):
        with pytest.raises(UserError, match=r"Permission denied|no finished model") as caught:
            find_model(given_or_none, tmp_path)
        assert caught.value.code == ExitCode.MODEL
