"""Tiny training for injected faults: its data, config, expected result and current phase."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.outcome import Outcome, Verdict
from tests.faults.process import Ended, Running, Start

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]

CONFIG = """
data: {src_lang: en, tgt_lang: de, train: [{tsv: train.tsv}], dev: {tsv: dev.tsv}}
tokenizer: {vocab_size: 60, byte_fallback: false}
model: {d_model: 32, num_heads: 2, d_ff: 64, encoder_layers: 2, decoder_layers: 2, dropout: 0.1}
train: {batch_tokens: 160, accumulate: 2, lr: 5e-3, warmup_steps: 20, precision: fp32, device: cpu,
        average: 3}
"""

TIMES = ("seconds", "tokens_per_second", "mfu", "matrix_rate")
"""Fields of records that hold measurements, and so differ from run to run."""


@dataclass(frozen=True)
class Training:
    """Deterministic training, with the same result wherever it runs."""

    folder: Path
    """Folder of the data and the config."""
    max_steps: int = 200
    save_every: int = 10
    eval_every: int = 50
    log_every: int = 7
    num_dev: int = 20
    threads: int = 1

    def write(self) -> None:
        """Write data and config: number words, whose translation is the same words in reverse order."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draw = random.Random(0)
        for name, count in (("train", 300), ("dev", self.num_dev)):
            sentences = [draw.choices(WORDS, k=draw.randint(1, 8)) for _ in range(count)]
            lines = [f"{' '.join(words)}\t{' '.join(reversed(words))}\n" for words in sentences]
            (self.folder / f"{name}.tsv").write_text("".join(lines))
        (self.folder / "tiny.yaml").write_text(CONFIG)

    def start(self, place: Path, *overrides: str, **around: Any) -> Start:
        """Build its command, with run folder and cache in `place`; the same to begin, continue or repeat it."""
        place.mkdir(parents=True, exist_ok=True)
        names = ("max_steps", "save_every", "eval_every", "log_every")
        settings = [*(f"train.{name}={getattr(self, name)}" for name in names), *overrides]
        return Start(
            ["train", "--config", str(self.folder / "tiny.yaml"), "--run-dir", "run", *settings],
            place,
            {"OMP_NUM_THREADS": str(self.threads), "MTX_CACHE": str(place / "cache")},
            **around,
        )

    def phase(self, run: Path) -> str:
        """Infer from the run folder in which phase a process was killed."""
        names = {path.name for path in run.iterdir()} if run.exists() else set()
        saved = max(saved_steps(run), default=0)
        if not names - {".lock"}:
            return "before the first file"
        if (run / "model" / "manifest.json").exists():
            return "after the model"
        if "config.yaml" not in names or not (run / "checkpoints").exists():
            return "among the first files"
        if next(run.glob("model.tmp-*"), None):
            return "inside the model folder's save"
        if next(run.glob("checkpoints/*.tmp-*"), None):
            return "inside a save"
        validated = any(r.get("event") == "validation" and r["step"] == saved for r in metrics(run))
        if saved and (saved % self.eval_every == 0 or saved == self.max_steps) and not validated:
            return "inside a validation"
        if saved == self.max_steps:
            return "at the finish"
        return "between saves" if saved else "before the first save"


def result(run: Path) -> dict[str, str]:
    """Digest the files of a finished run, by name and without times; they must not depend on interruptions."""
    last = run / "checkpoints" / f"step-{max(saved_steps(run), default=0):06d}"
    files = [path for path in run.glob("model/*") if path.name != "README.md"]
    files += [*last.glob("*.safetensors"), *run.glob("tokenizer*"), run / "config.yaml"]
    found = {str(path.relative_to(run)): digest(path.read_bytes()) for path in files if path.is_file()}
    found["metrics.jsonl"] = digest(json.dumps(metrics(run)).encode())
    leftovers = sorted(path.name for path in run.rglob("*") if ".tmp-" in path.name or ".old-" in path.name)
    return {**found, **dict.fromkeys(leftovers, "left behind")}


Failure = tuple[Verdict, str]
"""Verdict on a failed try, and a description of what happened."""


def check_finished(ended: Ended, run: Path, expected: Mapping[str, str]) -> Failure | None:
    """Check that a training finished with the result of an untouched one; None if it did."""
    if ended.has_traceback:
        return Verdict.TRACEBACK, str(ended)
    if ended.code:
        return Verdict.LOST, str(ended)
    wrong = difference(expected, result(run))
    return (Verdict.SILENT, f"differs from the untouched run: {wrong}") if wrong else None


def check_refused(ended: Ended, *codes: int) -> Failure | None:
    """Check that a command ended with one of `codes` and one error line; None if it did.

    With code 2, errors in a config, there may be several: one line per key.
    """
    if ended.has_traceback:
        return Verdict.TRACEBACK, str(ended)
    if ended.code not in codes or not ended.errors or (len(ended.errors) > 1 and ended.code != 2):
        return Verdict.LOST, f"{ended}, {len(ended.errors)} error lines"
    return None


def count(row: Outcome, failure: Failure | None, what: str, place: Path) -> None:
    """Add one try to a row; delete its folder unless it failed."""
    if failure is None:
        row.count(Verdict.SURVIVED)
        shutil.rmtree(place, ignore_errors=True)
    else:
        verdict, why = failure
        row.count(verdict, f"{why}: {what} (see {place})")


def untouched(training: Training, place: Path, begin: Callable[[Start], Running]) -> tuple[float, dict[str, str]]:
    """Train without interruption; return the duration in seconds and the digests of the result."""
    running = begin(training.start(place))
    ended = running.wait()
    if ended.code:
        raise RuntimeError(f"an untouched training ended with {ended}")
    return running.seconds(), result(place / "run")


def saved_steps(run: Path) -> list[int]:
    """List the steps of all checkpoints, oldest first."""
    names = (path.name.removeprefix("step-") for path in run.glob("checkpoints/step-*"))
    return sorted(int(name) for name in names if name.isdecimal())


def metrics(run: Path) -> list[dict[str, Any]]:
    """Read the records of `metrics.jsonl`, without times."""
    path = run / "metrics.jsonl"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    records = []
    for line in lines:
        try:
            records.append({key: value for key, value in json.loads(line).items() if key not in TIMES})
        except (ValueError, AttributeError):
            records.append({"unreadable": line})
    return records


def difference(expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """List the names whose digests differ, as text; empty if none do."""
    return ", ".join(sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name)))


def digest(data: bytes) -> str:
    """Digest by SHA-256, as hexadecimal text."""
    return hashlib.sha256(data).hexdigest()
