"""Workers give the results of a single process; their death is noticed, and they end with their parent."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

import mtx.decode.translator as decode_translator
from mtx.checkpoint.model_folder import TrainedModel
from mtx.decode.search import Hypothesis
from mtx.decode.translator import Translator
from mtx.errors import ExitCode, UserError
from mtx.system.device import choose_precision
from mtx.system.parallel import _become_worker, can_fork, map_as_completed, parallel_map, start_workers

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not can_fork(), reason="workers are forked, which mtx does on Linux only"),
]


@pytest.fixture
def translator(trained: TrainedModel, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Translator]:
    """Builds a translator with the given number of workers."""

    def translator(num_workers: int) -> Translator:
        monkeypatch.setattr(torch, "get_num_threads", lambda: num_workers)
        precision = choose_precision("fp32", torch.device("cpu"))
        options = trained.generation.decode.with_options(beam_size=3, batch_tokens=120, n_best=2)
        return Translator(trained, options, precision)

    return translator


@pytest.mark.slow
def test_workers_translate_as_one_process_does(translator: Callable[[int], Translator], sentences: list[str]) -> None:
    alone, shared = translator(1), translator(2)
    done: list[int] = []
    assert shared.translate(sentences, done.append) == alone.translate(sentences)
    assert sum(done) >= len(sentences), "long sentences are translated in parts"
    assert len(done) > 5
    assert shared.translate(sentences[:1]) == alone.translate(sentences[:1])
    shared.close()
    assert shared.translate(sentences) == alone.translate(sentences), "it starts new workers"
    shared.close()


def test_work_is_balanced(
    translator: Callable[[int], Translator], sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both workers get equally many tokens, in one batch each if these fit; one worker gets all if there are few."""
    shared = translator(2)
    segments = shared.segmenter.segments(sentences)
    for batch_tokens, min_rows, fewest, most in ((10**6, 10**6, 1, 1), (120, 1, 5, 40), (10**6, 1, 2, 2)):
        monkeypatch.setattr(decode_translator, "MIN_ROWS_PER_WORKER", min_rows)
        shared.options = shared.options.model_copy(update={"batch_tokens": batch_tokens})
        batches = shared._batches(segments)
        assert sorted(index for batch in batches for index in batch) == list(range(len(segments)))
        assert fewest <= len(batches) <= most
    lengths = [[len(segments[i].ids) + 1 for i in batch] for batch in batches]
    assert min(lengths[0]) >= max(lengths[1])
    assert sum(lengths[0]) == pytest.approx(sum(lengths[1]), rel=0.1)


def test_an_exception_from_the_callback_ends_a_translation(
    translator: Callable[[int], Translator], sentences: list[str]
) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    shared = translator(2)
    with pytest.raises(KeyboardInterrupt):
        shared.translate(sentences, stop)
    assert len(shared.translate(sentences)) == len(sentences)
    shared.close()


def test_a_killed_worker_is_a_machine_error() -> None:
    def die(sentences: list[list[int]]) -> list[list[Hypothesis]]:
        if sentences[0] == [1]:
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()  # until the pool ends this worker
        return []

    workers = start_workers(2, die)
    with pytest.raises(UserError, match="was killed") as caught:
        list(map_as_completed(workers, [[[1]], [[2]]]))
    assert caught.value.code == ExitCode.MACHINE
    workers.shutdown()


def test_workers_ignore_signals_to_the_whole_process_group() -> None:
    def signal_oneself(sentences: list[list[int]]) -> list[list[Hypothesis]]:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        return [[Hypothesis(ids, 0.0, 0.0)] for ids in sentences]

    workers = start_workers(2, signal_oneself)
    found = dict(map_as_completed(workers, [[[number]] for number in range(20)]))
    assert found == {number: [[Hypothesis([number], 0.0, 0.0)]] for number in range(20)}
    workers.shutdown()


def echo(sentences: list[list[int]]) -> list[list[Hypothesis]]:
    return [[Hypothesis(ids, 0.0, 0.0)] for ids in sentences]


def test_workers_end_with_a_killed_parent() -> None:
    """Workers inherit what the parent held, even the lock of its run."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        workers = start_workers(2, echo)
        list(map_as_completed(workers, [[[1]], [[2]]]))
        os.write(writing, b"begun")
        signal.pause()
    os.close(writing)
    assert os.read(reading, 5) == b"begun"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    ready, _, _ = select.select([reading], [], [], 60)
    assert ready, "a worker still holds the other end"
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_worker_exits_if_its_parent_has_ended_before() -> None:
    process = os.fork()
    if process == 0:
        _become_worker(echo, lambda: None, parent=os.getpid())  # not the parent's id
        os._exit(7)
    assert os.waitpid(process, 0)[1] == 0


AFTER_BACKWARD = """
import sys

import torch

from mtx.config.settings import ModelSettings
from mtx.config.decoding import DecodeOptions
from mtx.decode.search import greedy_search
from mtx.model import build_transformer
from mtx.model.fast import for_decoding
from mtx.system.memory import prepare_forked_process
from mtx.system.parallel import map_as_completed, start_workers

torch.set_num_threads(2)
settings = ModelSettings(d_model=128, num_heads=4, d_ff=256, encoder_layers=2, decoder_layers=2)
model = build_transformer(settings, src_vocab_size=500, tgt_vocab_size=500, pad_id=0, is_joint=True)
options = DecodeOptions(beam_size=1, max_length_factor=1.0, max_length_extra=5)

@torch.inference_mode()
def search(sentences):
    src_ids = torch.tensor(sentences)
    return greedy_search(for_decoding(model.eval(), torch.float32), src_ids, src_ids != 0, options, bos_id=2, eos_id=3)

for _ in range(int(sys.argv[1])):
    ids = torch.randint(4, 500, (32, 40))
    model.train()(ids, ids != 0, ids).square().mean().backward()
    workers = start_workers(2, search, prepare_forked_process)
    found = list(map_as_completed(workers, [[[number, 6]] * 20 for number in (5, 7, 8, 9)]))
    workers.shutdown()
    print(len(found), flush=True)
"""


def test_workers_start_beside_the_threads_of_a_training() -> None:
    """A fork inherits the locks that the threads of a backward pass hold, but not the threads. Killed if it hangs."""
    command = [sys.executable, "-c", AFTER_BACKWARD, "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.stdout.split() == ["4"] * 20, done.stderr


def test_an_error_in_a_worker_is_raised_in_the_parent() -> None:
    def fail(sentences: list[list[int]]) -> list[list[Hypothesis]]:
        raise ValueError("a bug")

    workers = start_workers(1, fail)
    with pytest.raises(ValueError, match="a bug"):
        list(map_as_completed(workers, [[[1]]]))
    workers.shutdown()


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtx.system.parallel.num_threads", lambda: 2)


@pytest.mark.usefixtures("two_processors")
@pytest.mark.parametrize("num_tasks", [0, 3, 4, 40])
def test_results_come_in_the_order_of_tasks_and_few_tasks_are_taken_in_advance(num_tasks: int) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(num_tasks):
            taken.append(number)
            yield number

    processes = set()
    for place, (number, (double, process)) in enumerate(parallel_map(tasks(), lambda task: (2 * task, os.getpid()))):
        assert (number, double) == (place, 2 * place)
        assert len(taken) <= place + 5
        processes.add(process)
    assert taken == list(range(num_tasks))
    assert (os.getpid() in processes) == (0 < num_tasks < 4), "few tasks are done here, many elsewhere"


@pytest.mark.usefixtures("two_processors")
def test_workers_end_when_reading_results_stops() -> None:
    results = parallel_map(iter(range(10_000)), lambda task: os.getpid())
    _, worker = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.usefixtures("two_processors")
def test_a_killed_worker_of_a_parallel_map_is_a_machine_error() -> None:
    results = parallel_map(iter(range(10)), lambda task: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="was killed") as caught:
        list(results)
    assert caught.value.code == ExitCode.MACHINE
