"""Records of a run: what `metrics.jsonl` says by step."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from mtx.config.limits import MAX_COUNT
from mtx.errors import ExitCode, UserError, escape_controls, machine_error
from mtx.files.sealed import MANIFEST

METRICS = "metrics.jsonl"  # A JSON object for each log line and each validation
UPDATE, VALIDATION = "update", "validation"  # Their values of "event"
LARGEST = 1e30  # Numbers above count as infinite: nothing that a training measures is as large

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunRecords:
    """Records of one run, the last one of each step."""

    name: str
    updates: dict[int, Record]
    validations: dict[int, Record]

    def curve(self, event: str, key: str) -> tuple[list[int], list[float]]:
        """Steps in order, and the value of `key` at each; NaN where the run recorded no number."""
        records = self.updates if event == UPDATE else self.validations
        steps = sorted(records)
        return steps, [_number(records[step].get(key)) for step in steps]


def read_metrics(path: Path) -> Iterator[Record]:
    """Read the records of a metrics file, without a last line that a kill cut short."""
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def read_runs(given: Sequence[Path], runs: Path) -> list[RunRecords]:
    """Read the records of the runs `given` as run or model folders, each once; if there are none, of the newest run.

    Raises:
        UserError: one is no run, or has no records yet (MODEL); a file can't be read (MACHINE).
    """
    folders = list(dict.fromkeys(map(_run_folder, given))) or [_newest(runs)]
    return [_read_run(folder, name) for folder, name in zip(folders, _unique_names(folders), strict=True)]


def _read_run(folder: Path, name: str) -> RunRecords:
    run = RunRecords(name, {}, {})
    by_event = {UPDATE: run.updates, VALIDATION: run.validations}
    try:
        for record in read_metrics(folder / METRICS):
            step, event = record.get("step"), record.get("event")
            if type(step) is int and 0 < step <= MAX_COUNT and isinstance(event, str) and event in by_event:
                by_event[event][step] = record
    except OSError as error:
        raise machine_error(error, "cannot read", folder / METRICS) from error
    if not run.updates and not run.validations:
        do = "Wait for its first log line."
        raise UserError(ExitCode.MODEL, f"no records in {METRICS}", where=str(folder), do=do)
    return run


def _run_folder(given: Path) -> Path:
    """The run folder that `given` is, or whose model folder it is."""
    if not given.is_dir():
        what = "not a folder" if os.path.lexists(given) else "no such folder"
        raise UserError(ExitCode.MODEL, what, where=str(given), do="Give the folder of a run.")
    folder = given.resolve()
    for candidate in (folder, folder.parent) if (folder / MANIFEST).exists() else (folder,):
        if (candidate / METRICS).is_file():
            return candidate
    is_new = (folder / "config.yaml").is_file()
    what = f"this run has no {METRICS} yet" if is_new else f"not a run folder: no {METRICS}"
    do = "Wait for its first log line." if is_new else "Give the folder of a run, such as runs/demo."
    raise UserError(ExitCode.MODEL, what, where=str(given), do=do)


def _newest(runs: Path) -> Path:
    found = sorted(runs.glob(f"*/{METRICS}"), key=lambda path: path.stat().st_mtime)
    if not found:
        do = "Train one with mtx train, or give its folder."
        raise UserError(ExitCode.MODEL, "no run with records", where=str(runs), do=do)
    return found[-1].parent.resolve()


def _unique_names(folders: Sequence[Path]) -> list[str]:
    """Name each folder by the end of its path, as short as it is unique."""

    def name(folder: Path) -> str:
        for depth in count(1):
            end = folder.parts[-depth:]
            if depth == len(folder.parts) or sum(each.parts[-depth:] == end for each in folders) == 1:
                break
        return escape_controls("/".join(end))

    return [name(folder) for folder in folders]


def _number(value: Any) -> float:
    return float(value) if type(value) in (int, float) and abs(value) <= LARGEST else math.nan
