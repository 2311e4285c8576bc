"""Fixtures for all tests: tiny models with random weights, batches for them, a tokenizer and a trained model.

Tests never touch the user's cache of prepared data. Property tests try the same 100 examples each time, or 10,000 new
ones with HYPOTHESIS_PROFILE=long.
"""

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel
from mtx.config.decoding import DecodeSettings
from mtx.config.settings import ModelSettings, TokenizerSettings
from mtx.model import Transformer, build_transformer
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer
from tests.faults.starter import Starter

settings.register_profile("ci", derandomize=True, max_examples=100, deadline=None)
settings.register_profile("long", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

VOCAB_SIZE = 23
PROCESS_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
"""Python's audit events for the start of a process."""
WORDS = [
    "the",
    "a",
    "dog",
    "cat",
    "house",
    "child",
    "man",
    "big",
    "red",
    "sees",
    "hears",
    "finds",
    "near",
    "and",
    "never",
]


_unmarked: list[str] = []
"""The running test, if it has no marker `process`."""


def _refuse_processes(event: str, _arguments: object) -> None:
    if event in PROCESS_STARTS and _unmarked:
        raise RuntimeError(f"{_unmarked[0]} starts a process: mark it with pytest.mark.process")


sys.addaudithook(_refuse_processes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let only tests with the marker `process` start processes, so that `scripts/test --quick` stays quick."""
    if item.get_closest_marker("process") is None:
        _unmarked.append(item.nodeid)
    try:
        return (yield)
    finally:
        _unmarked.clear()


@pytest.fixture(autouse=True, scope="session")
def _idle_threads_sleep() -> Iterator[None]:
    """Let idle OpenMP threads of child processes sleep: spinning, they would take the cores from other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "passive")
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def starter() -> Iterator[Starter]:
    """Forks `mtx` commands from a process that has imported it all (Linux)."""
    with Starter() as starter:
        yield starter


@pytest.fixture(scope="session")
def program(request: pytest.FixtureRequest) -> Sequence[str]:
    """Command line of `mtx`, without arguments; where there is a starter, one that does not import torch anew."""
    if sys.platform != "linux":
        return [sys.executable, "-m", "mtx"]
    return [str(request.getfixturevalue("starter").executable)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run torch on one thread, so that the order of summation is fixed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _signals_as_in_a_terminal() -> Iterator[None]:
    """Restore default signal handlers: under nohup or in the background, tests would inherit ignored signals."""
    answers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, answer) for number, answer in answers.items()}
    yield
    for number, answer in before.items():
        signal.signal(number, answer)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Transformer]:
    """Builds a tiny Transformer of `dtype` in training mode, with random weights, biases and norms."""

    def make_model(
        seed: int = 0,
        *,
        dtype: torch.dtype = torch.float64,
        is_joint: bool = True,
        vocab_sizes: tuple[int, int] = (VOCAB_SIZE, VOCAB_SIZE),
        **settings: Any,
    ) -> Transformer:
        torch.manual_seed(seed)
        sizes = {"d_model": 16, "num_heads": 4, "d_ff": 24, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}
        model = build_transformer(
            ModelSettings(**{**sizes, **settings}),
            src_vocab_size=vocab_sizes[0],
            tgt_vocab_size=vocab_sizes[1],
            pad_id=0,
            is_joint=is_joint,
        ).to(dtype)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.3)
        return model

    return make_model


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Draws random `src_ids`, `src_mask` and `tgt_in`; sources have 1 to S tokens, the first of them S."""

    def make_batch(seed: int = 0, sizes: tuple[int, int, int] = (4, 7, 6)) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        num_sentences, src_length, tgt_length = sizes
        lengths = torch.randint(1, src_length + 1, (num_sentences, 1), generator=generator)
        lengths[0] = src_length
        src_mask = torch.arange(src_length) < lengths
        src_ids = torch.randint(4, VOCAB_SIZE, (num_sentences, src_length), generator=generator) * src_mask
        return src_ids, src_mask, torch.randint(4, VOCAB_SIZE, (num_sentences, tgt_length), generator=generator)

    return make_batch


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    """Fifty short sentences."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 8))).capitalize() + "." for _ in range(50)]


@pytest.fixture(scope="session")
def tokenizer(sentences: list[str]) -> Tokenizer:
    """A joint vocabulary of 60 pieces."""
    settings = TokenizerSettings(vocab_size=60, byte_fallback=False)
    return train_tokenizer(sentences, sentences, settings, log=lambda line: None)


@pytest.fixture(scope="session")
def trained(make_model: Callable[..., Transformer], tokenizer: Tokenizer) -> TrainedModel:
    """Untrained model with random translations; float64, so that rounding flips no tie."""
    model = make_model(3, vocab_sizes=(tokenizer.src_vocab_size, tokenizer.tgt_vocab_size)).eval()
    decode = DecodeSettings(max_length_factor=1.0, max_length_extra=5)
    return TrainedModel(model, tokenizer, "en", "de", GenerationDefaults(decode=decode, max_source_tokens=12))


@pytest.fixture(scope="session", autouse=True)
def short_scoring() -> Iterator[None]:
    """Shorten the comparison with copies of the sources, and the test of robustness, at the end of each training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtx.judge.compare.NUM_TRIALS", 100)
        patch.setattr("mtx.train.finish.NUM_DISTURBED", 2)
        yield
