"""Any valid config on tiny data ends in an estimate or in an error for the user."""

import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mtx.config.decoding import DecodeSettings
from mtx.config.load import dump_config, load_config
from mtx.config.messages import choices
from mtx.config.settings import CleanSettings, Config, DataSettings, ModelSettings, TokenizerSettings, TrainSettings
from mtx.config.sources import Folder, Jsonl, Tmx, Tsv, TwoFiles, Zip
from mtx.errors import UserError
from mtx.model import build_transformer
from mtx.text.train_tokenizer import train_tokenizer
from mtx.train.estimate import estimate_run
from mtx.train.run_folder import RunFolder

TEXT = "the dog\tder Hund\na cat\teine Katze\n\nthe man sees\tder Mann sieht\n"


def values_of(field: FieldInfo) -> st.SearchStrategy[Any]:
    """All valid values of a number, a choice or a switch."""
    limits = {
        name: getattr(bound, name)
        for bound in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(bound, name, None) is not None
    }
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if field.annotation is int:
        return st.integers(low, high - ("lt" in limits))
    if field.annotation is float:
        return st.floats(low, high, exclude_min="gt" in limits, exclude_max="lt" in limits)
    if field.annotation == str | None:
        return st.sampled_from([None, None, None, "2de", "2fr"])  # a tag that the tokenizer has, and one that it lacks
    if field.annotation is bool:
        return st.booleans()
    return st.sampled_from(choices(field)) if choices(field) else st.sampled_from([None, "2de"])  # a tag


def any_of(kind: type[BaseModel], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Settings of this kind: `given` fields as given, the others with any valid value."""
    fields = {name: values_of(field) for name, field in kind.model_fields.items() if name not in given}
    fields |= {name: st.sampled_from([None, "de"]) for name in ("src_lang", "tgt_lang") if name in fields}
    return st.builds(kind, **fields, **given)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the data that the configs below name."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "text").write_text(TEXT, encoding="utf-8")
    (folder / "more").write_text(TEXT + "one more\n", encoding="utf-8")
    (folder / "bytes").write_bytes(b"\x98\xff\n" * 4)
    (folder / "records").write_text('{"en": "a", "de": "b"}\n' * 3, encoding="utf-8")
    (folder / "empty").touch()
    unit = '<tu><tuv xml:lang="en"><seg>a</seg></tuv><tuv xml:lang="de"><seg>b</seg></tuv></tu>'
    (folder / "memory").write_text(f"<tmx><body>{unit}</body></tmx>", encoding="utf-8")
    with zipfile.ZipFile(folder / "archive", "w") as archive:
        archive.writestr("a.en", "a\n")
        archive.writestr("a.de", "b\n")
    (folder / "below").mkdir()
    (folder / "below" / "a.tsv").write_text(TEXT, encoding="utf-8")
    (folder / "below" / "other.en").write_text("a\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _no_measuring(sentences: list[str]) -> Iterator[None]:
    """Replace the slow parts of a training's start: the tokenizer and the measurements of speed."""
    settings = TokenizerSettings(vocab_size=60, byte_fallback=False)
    tokenizer = train_tokenizer(sentences, sentences, settings, log=lambda line: None, tags=["2de"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtx.train.setup.matrix_rate", lambda _precision: 1e9)
        patch.setattr("mtx.train.estimate.SECONDS", 0.0)
        patch.setattr("mtx.train.setup.make_tokenizer", lambda _config: tokenizer)
        yield


paths = st.sampled_from(["text", "text", "more", "bytes", "records", "empty", "nowhere", ".", "x" * 300, "text/below"])
others = st.sampled_from(["memory", "archive", "below", "below", "text", "empty", "nowhere"]).map(Path)
sources = (
    any_of(TwoFiles, src=paths.map(Path), tgt=paths.map(Path))
    | any_of(Tsv, tsv=paths.map(Path), src=st.integers(1, 3), tgt=st.just(2) | values_of(Tsv.model_fields["tgt"]))
    | any_of(
        Jsonl, jsonl=paths.map(Path), src=st.none() | st.text(max_size=3), tgt=st.sampled_from([None, "de", "src"])
    )
    | any_of(Tmx, tmx=others, src=st.sampled_from([None, "en", "fr"]), tgt=st.sampled_from([None, "de"]))
    | any_of(Zip, zip=others, src=st.sampled_from([None, "a.en", "b"]), tgt=st.sampled_from([None, "a.de"]))
    | any_of(Folder, folder=others, match=st.sampled_from(["*", "*.tsv", "**/*.tsv", "../*", "/", "**a", "*.\0"]))
)
good_source = st.just(Tsv(tsv=Path("text")))
sizes = st.sampled_from([(2, 1), (6, 3), (16, 4), (64, 64)])
configs = st.builds(
    Config,
    data=any_of(
        DataSettings,
        src_lang=st.sampled_from(["en", "zh_Hans", "x-"]),
        tgt_lang=st.sampled_from(["de", "zh", "ja", "yue"]),
        train=st.lists(good_source | good_source | sources, min_size=1, max_size=2).map(tuple),
        dev=st.none() | good_source | good_source | sources,
        test=st.none() | good_source | good_source | sources,
    ),
    model=sizes.flatmap(
        lambda size: any_of(
            ModelSettings,
            preset=st.none(),
            d_model=st.just(size[0]),
            num_heads=st.just(size[1]),
            d_ff=st.integers(1, 99),
            encoder_layers=st.integers(1, 2),
            decoder_layers=st.integers(1, 2),
        )
    ),
    train=any_of(
        TrainSettings,
        precision=st.sampled_from(["fp32"] * 9 + ["auto", "bf16", "fp16"]),
        device=st.sampled_from(["cpu"] * 9 + ["auto", "cuda:7", "gpu", "", "é\udcff"]),
        log_to=st.sampled_from([(), (), ("tensorboard",)]),
    ),
    decode=any_of(DecodeSettings),
    clean=any_of(CleanSettings),
)


@pytest.mark.slow
@given(config=configs, resume=st.sampled_from(["auto", "never"]))
def test_any_valid_config_gives_an_estimate_or_a_user_error(config: Config, resume: str, folder: Path) -> None:
    path = folder / "any.yaml"
    path.write_bytes(dump_config(config).encode())
    run = RunFolder(folder / "run")
    with suppress(UserError):
        run.check_continuable(load_config(path, []), resume)
        estimate_run(load_config(path, []), run)
    assert not (folder / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("size", ["smallest", "largest"])
def test_weights_of_a_model_of_any_size_can_be_counted(size: str) -> None:
    sizes = {"d_model": 2, "num_heads": 1, "d_ff": 1, "encoder_layers": 1, "decoder_layers": 1}
    if size == "largest":
        sizes = {"d_model": 16384, "num_heads": 1024, "d_ff": 262_144, "encoder_layers": 200, "decoder_layers": 200}
    with torch.device("meta"):
        model = build_transformer(
            ModelSettings(**sizes), src_vocab_size=10**6, tgt_vocab_size=10**6, pad_id=0, is_joint=False
        )
    assert 0 < sum(weight.numel() for weight in model.parameters()) < 2**50
