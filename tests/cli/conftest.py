"""A finished tiny run, and the command line called in this process."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtx.cli import main
from mtx.config.load import load_config
from mtx.system.device import use_threads
from mtx.system.logs import LOGGER
from mtx.train.trainer import train

NOUNS = {"dog": "Hund", "cat": "Kater", "man": "Mann", "cook": "Koch", "guest": "Gast", "bird": "Vogel"}
VERBS = {"sees": "sieht", "hears": "hört", "finds": "findet", "knows": "kennt"}
PAIRS = [
    (f"The {a} {verb} a {b}.", f"Der {NOUNS[a]} {VERBS[verb]} einen {NOUNS[b]}.")
    for a in NOUNS
    for verb in VERBS
    for b in NOUNS
    if a != b
]


def write_corpus(folder: Path) -> Path:
    """Write a tiny corpus and a config for it, `my.yaml`; returns the config."""
    for name, pairs in (("train", PAIRS), ("dev", PAIRS[::9]), ("test", PAIRS[4::9])):
        (folder / f"{name}.en").write_text("".join(src + "\n" for src, _ in pairs), encoding="utf-8")
        (folder / f"{name}.de").write_text("".join(tgt + "\n" for _, tgt in pairs), encoding="utf-8")
    config = folder / "my.yaml"
    config.write_text(
        """
data:
  src_lang: en
  tgt_lang: de
  train: [{src: train.en, tgt: train.de}]
  dev: {src: dev.en, tgt: dev.de}
  test: {src: test.en, tgt: test.de}
tokenizer: {vocab_size: 90, byte_fallback: false}
model: {d_model: 32, num_heads: 2, d_ff: 64, encoder_layers: 1, decoder_layers: 1}
train: {max_steps: 12, batch_tokens: 256, lr: 1e-2, warmup_steps: 4, eval_every: 6, save_every: 6, log_every: 6,
        precision: fp32}
""",
        encoding="utf-8",
    )
    return config


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a finished training on `write_corpus`."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTX_CACHE", str(folder / "cache"))
        use_threads()
        train(load_config(write_corpus(folder), []), folder / "runs" / "my")
    return folder / "runs" / "my"


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code and output of a command line."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines for the user."""
        return [line for line in self.err.splitlines() if line.startswith("mtx: error: ")]


Mtx = Callable[..., Answer]


@pytest.fixture
def mtx(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mtx:
    """Run `mtx ARGUMENTS…` in this process, in a scratch folder; `stdin` is bytes, or None for a closed one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object, stdin: bytes | None = b"") -> Answer:
        reading, writing = os.pipe()
        os.write(writing, stdin or b"")
        os.close(writing)
        monkeypatch.setattr(sys, "argv", ["mtx", *map(str, arguments)])
        with open(reading, encoding="utf-8") as stream, monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", None if stdin is None else stream)
            with pytest.raises(SystemExit) as ended:
                mtx_main()
            sys.stdin.close()
        out, err = capfdbinary.readouterr()
        return Answer(int(ended.value.code or 0), out.decode(), err.decode())

    return run


def mtx_main() -> None:
    """Run `main`, then restore this process's signal handlers and log."""
    numbers: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    log_handlers, level, propagates = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    try:
        main()
    finally:
        LOGGER.handlers[:], LOGGER.propagate = log_handlers, propagates
        LOGGER.setLevel(level)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
