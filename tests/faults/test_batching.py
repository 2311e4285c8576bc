"""No translation of a trained model depends on the sentences beside it; a translator that cheats is seen."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
import torch

from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.translator import Candidate, Translation, Translator
from mtx.demo import read_demo
from mtx.system.device import choose_precision
from tests.faults.batching import LONG_SENTENCE, compare_batchings, learned_model


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return learned_model(tmp_path_factory.mktemp("learned"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "num_sentences", "beam_size"),
    [(torch.float32, 300, 1), (torch.float32, 300, 5), (torch.float64, 100, 5)],
    ids=str,
)
def test_the_batch_does_not_matter(
    dtype: torch.dtype, num_sentences: int, beam_size: int, learned: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # no workers: what is given at once is one batch
    learned.model.to(dtype)
    options = learned.generation.decode.with_options(beam_size=beam_size, batch_tokens=1 << 20)
    translator = Translator(learned, options, choose_precision("fp32", torch.device("cpu")))
    assert 200 <= len(learned.tokenizer.encode_src([LONG_SENTENCE])[0]) < 300
    sentences = [src for src, _ in islice(read_demo("test"), num_sentences)]
    for comparison in compare_batchings(translator, sentences, LONG_SENTENCE, most_batches=40):
        assert not comparison.differing, comparison
        assert not comparison.near_ties, comparison
        assert comparison.num_sentences >= 40


class Cheat:
    """Stands for a translator whose translations hold what `differs` says of a sentence and of those given with it."""

    def __init__(self, differs: Any) -> None:
        self.differs = differs

    def translate(self, lines: Sequence[str]) -> list[Translation]:
        """As the Translator's."""
        return [Translation(line, (Candidate(*self.differs(line, list(lines))),), num_tokens=1) for line in lines]


SENTENCES = [f"sentence {number}" for number in range(130)]
FAULTS = {
    "none": (lambda line, lines: (line, -1.0), [], []),
    "padding": (
        lambda line, lines: (f"{line} {max(map(len, lines)) > 20}", -1.0 - len(lines)),
        ["beside a long one"],
        [],
    ),
    "alone": (lambda line, lines: (f"{line} {len(lines) == 1}", -1.0 - len(lines)), ["alone"], []),
    "a tie": (lambda line, lines: (f"{line} {len(lines) == 7}", -1.0 - 1e-8 * len(lines)), [], ["7 in a batch"]),
    "order": (
        lambda line, lines: (f"{line} {lines != sorted(lines, key=lambda one: int(one[9:]))}", -1.0 * len(lines)),
        ["shuffled, 64 in a batch"],
        [],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_translator_whose_translations_depend_on_the_batch_is_seen(fault: str) -> None:
    differs, differing, near = FAULTS[fault]
    long = "a long sentence of many words" if fault == "padding" else "sentence -1"
    found = compare_batchings(Cheat(differs), SENTENCES, long, most_batches=5)  # type: ignore[arg-type]
    assert [comparison.num_sentences for comparison in found] == [5, 10, 35, 130, 130, 130]
    assert [comparison.way for comparison in found if comparison.differing] == differing
    assert [comparison.way for comparison in found if comparison.near_ties] == near
