"""Who may train where: the config, the data, the lock; and what an error before the first update leaves behind."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from mtx.config.reading import dump_config
from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError
from mtx.train import loop
from mtx.train.loop import train
from mtx.train.run_folder import RunFolder

Configure = Callable[..., Config]

HARMLESS = {
    "train.max_steps": 13, "train.eval_every": 7, "train.save_every": 7, "train.log_every": 7, "train.device": "auto",
    "train.keep": 5, "train.patience": 1,
}  # fmt: skip
HARMFUL = {
    "data.src_lang": "fr", "data.tgt_lang": "fr", "data.train": "[{demo: train}]", "data.dev": "{demo: dev}",
    "data.test": "{demo: test}", "data.max_tokens": 99,
    "tokenizer.vocab_size": 41, "tokenizer.model_type": "bpe", "tokenizer.joint": "false",
    "tokenizer.byte_fallback": "true", "tokenizer.character_coverage": 0.99, "tokenizer.normalization": "nfkc",
    "tokenizer.file": "other.model",
    "model.preset": "tiny", "model.d_model": 18, "model.num_heads": 4, "model.d_ff": 33, "model.encoder_layers": 2,
    "model.decoder_layers": 2, "model.dropout": 0.2, "model.attention_dropout": 0.1, "model.activation_dropout": 0.1,
    "model.norm": "post",
    "train.batch_tokens": 99, "train.accumulate": 3, "train.lr": 0.1, "train.warmup_steps": 3,
    "train.schedule": "cosine", "train.label_smoothing": 0.2, "train.weight_decay": 0.1, "train.adam_beta1": 0.8,
    "train.adam_beta2": 0.9, "train.adam_eps": 1e-6, "train.clip_norm": 2.0,
    "train.skip_spikes": "true", "train.precision": "bf16",
    "train.compile": "never", "train.seed": 2, "train.eval_sentences": 7, "train.eval_beam": 2, "train.average": 2,
    "decode.beam_size": 4, "decode.length_penalty": 0.5, "decode.max_length_factor": 3.0, "decode.max_length_extra": 3,
}  # fmt: skip


def keys_of(model: type[BaseModel], prefix: str = "") -> set[str]:
    keys = set()
    for name, field in model.model_fields.items():
        is_section = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        keys |= keys_of(field.annotation, f"{prefix}{name}.") if is_section else {prefix + name}
    return keys


@pytest.fixture
def run(configure: Configure, tmp_path: Path) -> RunFolder:
    """A folder with the beginning of a run in it."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.config.write_text(dump_config(configure()))
    return folder


def test_only_harmless_keys_may_differ_when_a_run_continues(run: RunFolder, configure: Configure) -> None:
    assert HARMLESS.keys() | HARMFUL.keys() == keys_of(Config)
    run.check_continuable(configure(*(f"{key}={value}" for key, value in HARMLESS.items())), "auto")
    for key, value in HARMFUL.items():
        with pytest.raises(UserError, match=rf"another config: {key}(\[0\])?: .* -> ") as caught:
            run.check_continuable(configure(f"{key}={value}"), "auto")
        assert caught.value.code == ExitCode.USAGE
        assert len(caught.value.lines) == 1 or key == "model.preset"
    with pytest.raises(UserError) as caught:
        run.check_continuable(configure("train.lr=0.1", "train.max_steps=13", "model.d_ff=33"), "auto")
    assert len(caught.value.lines) == 2
    assert "train.lr: 0.005 -> 0.1" in "".join(caught.value.lines)
    assert "model.d_ff: 32 -> 33" in "".join(caught.value.lines)


def test_what_is_in_the_folder_is_not_overwritten(run: RunFolder, configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "locked once").mkdir()
    (tmp_path / "locked once" / ".lock").touch()
    for name in ("not there", "empty", "locked once"):
        RunFolder(tmp_path / name).check_continuable(configure(), "never")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    for folder, resume, message in (("run", "never", "not empty"), ("other", "auto", "holds something else")):
        with pytest.raises(UserError, match=message) as caught:
            train(configure(), tmp_path / folder, resume=resume)
        assert caught.value.code == ExitCode.RUN_FOLDER
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["thesis.txt"]


def test_two_runs_in_one_folder(run: RunFolder, configure: Configure) -> None:
    with run.locked(), pytest.raises(UserError, match=r"in use by process \d+ ") as caught:
        train(configure(), run.path)
    assert caught.value.code == ExitCode.RUN_FOLDER
    assert not run.checkpoints.exists()
    with (run.path / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back


def test_changed_data_is_refused(configure: Configure, config_path: Path, tmp_path: Path) -> None:
    config = configure("train.max_steps=1", f"data.train=[{{tsv: {tmp_path / 'data.tsv'}}}]")
    text = config_path.with_name("train.tsv").read_text()
    (tmp_path / "data.tsv").write_text(text)
    train(config, tmp_path / "run")
    (tmp_path / "data.tsv").write_text(text.replace("a", "b", 1))
    with pytest.raises(UserError, match="the training data is not what this run began with") as caught:
        train(config.model_copy(update={"train": config.train.model_copy(update={"max_steps": 2})}), tmp_path / "run")
    assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("data.train=[{tsv: missing.tsv}]", ExitCode.DATA),
        ("data.dev={tsv: missing.tsv}", ExitCode.DATA),
        ("data.tgt_lang=ja", ExitCode.USAGE),
        ("tokenizer.vocab_size=9", ExitCode.DATA),
        ("tokenizer.file=missing.model", ExitCode.MODEL),
        ("train.batch_tokens=8", ExitCode.USAGE),
        ("train.precision=fp16", ExitCode.USAGE),
        ("train.device=cuda:99", ExitCode.MACHINE),
    ],
)
def test_an_error_before_the_first_update_leaves_no_run_folder(
    override: str, code: ExitCode, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sacrebleu.tokenizers import tokenizer_ja_mecab

    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
    with pytest.raises(UserError) as caught:
        train(configure(override), tmp_path / "run")
    assert caught.value.code == code
    assert not (tmp_path / "run").exists()


def test_a_dry_run_leaves_none_either(configure: Configure, tmp_path: Path) -> None:
    assert train(configure(), tmp_path / "run", dry_run=True) == tmp_path / "run" / "model"
    assert not (tmp_path / "run").exists()


def test_a_disk_that_fails_while_training_is_no_bug(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "append_record", full_disk)
    with pytest.raises(UserError, match=r"cannot write: No space left on device \(.*\)\. Free some space") as caught:
        train(configure(), tmp_path / "run")
    assert caught.value.code == ExitCode.MACHINE
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write: Not a directory") as caught:
        train(configure(), tmp_path / "file" / "run")
    assert caught.value.code == ExitCode.MACHINE
