"""If memory runs out, smaller batches give the same translations, here and in workers; one too large is named."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode import translator as module
from mtx.decode.beam import beam_search
from mtx.decode.translator import Translator, search_within_memory
from mtx.errors import ExitCode, UserError
from mtx.system.device import choose_precision

FULL = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


@pytest.fixture
def translate(trained: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Translates with a search that fails with `error` above `max_tokens` source tokens, padding included."""

    def translate(lines: list[str], max_tokens: int, error: Exception, num_threads: int = 1) -> list[str]:
        def limited_search(model: torch.nn.Module, src_ids: Tensor, *others: object, **symbols: int) -> object:
            if src_ids.numel() > max_tokens:
                raise error
            return beam_search(model, src_ids, *others, **symbols)  # type: ignore[call-arg, arg-type]

        monkeypatch.setattr(module, "beam_search", limited_search)
        monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
        precision = choose_precision("fp32", torch.device("cpu"))
        options = trained.generation.decode.with_options(beam_size=2, batch_tokens=600)
        translator = Translator(trained, options, precision)
        try:
            return [translation.tgt for translation in translator.translate(lines)]
        finally:
            translator.close()

    return translate


@pytest.mark.process
@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_smaller_batches_give_the_same(
    error: Exception, num_threads: int, translate: Callable[..., list[str]], sentences: list[str]
) -> None:
    expected = translate(sentences, 10_000, error)
    assert translate(sentences, 40, error, num_threads) == expected


@pytest.mark.process
@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_sentence_that_does_not_fit_is_named(
    num_threads: int, translate: Callable[..., list[str]], sentences: list[str], trained: TrainedModel
) -> None:
    lengths = [len(ids) + 1 for ids in trained.tokenizer.encode_src(sentences)]
    limit = trained.generation.max_source_tokens  # longer lines are cut
    line, length = next((s, n) for s, n in zip(sentences, lengths, strict=True) if n == limit)
    others = [s for s, n in zip(sentences, lengths, strict=True) if n < limit]
    with pytest.raises(UserError, match=f"memory for one sentence of {length} tokens \\({line[:20]}") as caught:
        translate([*others, line], limit - 1, MemoryError(), num_threads)
    assert caught.value.code == ExitCode.MACHINE


def test_other_errors_are_not_retried() -> None:
    def broken_search(_: object) -> list[object]:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        search_within_memory(broken_search, [[1], [2]])  # type: ignore[arg-type]
