"""Faults that need no `mtx` command: system calls of a save, loss of power, damage, strangers' files, other company."""

import logging
import shutil
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from mtx.checkpoint.model_folder import load_model
from mtx.checkpoint.training import delete_checkpoints, newest_checkpoint, save_checkpoint
from mtx.config.load import load_config
from mtx.decode.translator import Translator
from mtx.demo import read_demo
from mtx.errors import ExitCode, UserError
from mtx.system.device import Precision
from mtx.system.logs import LOGGER
from mtx.text.tokenizer import load_tokenizer
from mtx.train.run_folder import RunFolder
from tests.faults import batching, damage, headers, power, save, tokenizers
from tests.faults.attempts import HARMLESS
from tests.faults.calls import recorded_calls
from tests.faults.outcome import Outcome, SkippedError, Verdict
from tests.faults.starter import Starter
from tests.faults.training import Training


def fail_one_save(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Every system call of one save is its last, or fails by a full disk or an I/O error; all of them `tries` times."""
    if why := save.why_unavailable():
        raise SkippedError(why)
    rows = []
    for error in save.FAULTS:
        row = Outcome(f"one save, each system call: {error}")
        for found in (found for _ in range(tries) for found in save.injected_saves(error)):
            is_saved = found.code == ExitCode.DONE and found.found == save.NEW  # the old one could not be deleted
            is_told = is_saved or found.code == (-signal.SIGKILL if error == "KILL" else ExitCode.MACHINE)
            verdict = Verdict.LOST if not found.is_whole else Verdict.SURVIVED if is_told else Verdict.SILENT
            row.count(verdict, str(found))
        rows.append(row)
    return rows


def lose_power(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Every state of the disk that a loss of power may leave during one save beside an older one."""
    row = Outcome("power lost: each state of the disk during a save")
    checkpoints = folder / "run" / "checkpoints"
    save_checkpoint(checkpoints, save.a_training(save.OLD), {})
    before = power.read_state(folder / "run")
    with recorded_calls() as calls:
        save_checkpoint(checkpoints, save.a_training(save.NEW), {})
        num_calls = len(calls)
        delete_checkpoints(checkpoints, [save.OLD])
    for number, state in power.states_after(folder / "run", before, calls):
        scratch = folder / "scratch"
        power.build_state(scratch, state)
        try:
            newest = newest_checkpoint(scratch / "checkpoints")
        except UserError:  # every one is damaged
            newest = None
        found = newest[1]["step"] if newest else 0
        allowed = {save.NEW} if number >= num_calls else {save.OLD, save.NEW}
        row.count(Verdict.SURVIVED if found in allowed else Verdict.LOST, f"after call {number}: step {found}")
        shutil.rmtree(scratch)
    return [row]


def damage_folders(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Each file of a checkpoint and of a model folder damaged in each of five ways, `tries` times, and loaded."""
    run = _finished_run(folder)
    checkpoint = max(run.glob("checkpoints/step-*"))

    def go_on(copy: Path) -> object:
        return newest_checkpoint(copy.parent)

    loads: dict[str, tuple[Path, Callable[[Path], object]]] = {
        "checkpoint": (checkpoint, go_on), "model folder": (run / "model", load_model),
    }  # fmt: skip
    LOGGER.setLevel(logging.CRITICAL)  # what it says of each damage would be thousands of lines
    rows: dict[str, Outcome] = {}
    for name, (whole, load) in loads.items():
        for found in damage.damaged_loads(whole, load, tries, seed=seed):
            row = rows.setdefault(found.kind + name, Outcome(f"a file of a {name}: {found.kind}"))
            if found.error is None:
                row.count(Verdict.SILENT, found.file)
            elif isinstance(found.error, UserError) and found.error.code == ExitCode.MODEL:
                row.count(Verdict.SURVIVED)
            else:
                row.count(Verdict.TRACEBACK, f"{found.file}: {found.error!r}")
    return list(rows.values())


def damage_run_files(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """The files of a run folder itself, damaged in each of five ways, `tries` times, and read as a start reads them.

    A damaged tokenizer must be refused. A damaged config may count as none other than the command's own, or is refused;
    metrics are read as far as they can be: both are for people, and hold nothing that a run goes on from.
    """
    run, files = _finished_run(folder), folder / "files"
    files.mkdir()
    for name in ("config.yaml", "tokenizer.model", "metrics.jsonl"):
        shutil.copy(run / name, files)
    config, digest = load_config(run / "config.yaml", []), load_tokenizer(run).digest

    def start(copy: Path) -> None:
        RunFolder(copy).check_continuable(config, "auto")
        RunFolder(copy).rewind_metrics(15)
        tokenizer = RunFolder(copy).tokenizer()
        if tokenizer is not None and tokenizer.digest != digest:  # as a start finds out by the checkpoint
            raise UserError(ExitCode.MODEL, "another tokenizer", do="")

    rows: dict[str, Outcome] = {}
    for found in damage.damaged_loads(files, start, tries, seed=seed):
        row = rows.setdefault(found.kind, Outcome(f"a file of a run folder: {found.kind}"))
        is_refused = isinstance(found.error, UserError) and found.error.code in (2, 4, 7)
        if is_refused or (found.error is None and (found.file != "tokenizer.model" or found.kind == "deleted")):
            row.count(Verdict.SURVIVED)
        else:
            row.count(Verdict.SILENT if found.error is None else Verdict.TRACEBACK, f"{found.file}: {found.error!r}")
    return list(rows.values())


def _finished_run(folder: Path) -> Path:
    training = Training(folder / "data", max_steps=20)
    training.write()
    with Starter() as starter:
        ended = starter.start(training.start(folder / "whole")).wait()
    assert not ended.code, ended
    return folder / "whole" / "run"


def damage_tokenizers(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Damaged SentencePiece models, loaded and used in child processes."""
    folder.mkdir(parents=True, exist_ok=True)
    models = tokenizers.write_models(folder)
    return [_attempts("a damaged SentencePiece model", tokenizers.try_mutants(models, tries, seed))]


def make_up_weights(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Made-up safetensors files, loaded in child processes with little memory."""
    return [_attempts("a made-up header of weights", headers.try_headers(tries, seed))]


def change_company(folder: Path, tries: int, seed: int) -> list[Outcome]:
    """Translations of `tries` sentences in six batchings, greedy and with beam 5, by a trained model in float32."""
    trained = batching.learned_model(folder)
    torch.set_num_threads(1)  # no workers: what is given at once is one batch
    sentences = [src for src, _ in read_demo("test")][:tries]
    rows = []
    for beam_size in (1, 5):
        options = trained.generation.decode.with_options(beam_size=beam_size, batch_tokens=1 << 20)
        translator = Translator(trained, options, Precision(torch.float32, torch.device("cpu")))
        for found in batching.compare_batchings(
            translator, sentences, batching.LONG_SENTENCE, most_batches=tries, seed=seed
        ):
            row = Outcome(f"translated {found.way}, beam {beam_size}")
            for sentence in (*found.near_ties, *found.differing):
                row.count(Verdict.SILENT, sentence)
            for _ in range(found.num_sentences - row.tries):
                row.count(Verdict.SURVIVED)
            rows.append(row)
    return rows


def _attempts(fault: str, found: Iterable[str]) -> Outcome:
    row = Outcome(fault)
    for number, what in enumerate(found):
        is_crash = what.startswith("died")
        verdict = Verdict.SURVIVED if what in HARMLESS else Verdict.LOST if is_crash else Verdict.TRACEBACK
        row.count(verdict, f"{number}: {what}")
    return row
