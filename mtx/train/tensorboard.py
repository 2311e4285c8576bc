"""Event files of TensorBoard, for `train.log_to`: the records of `metrics.jsonl` as scalars."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtx.errors import ExitCode, UserError, machine_error
from mtx.files.atomic import make_folder
from mtx.system.logs import LOGGER
from mtx.train.records import UPDATE, VALIDATION, Record, read_metrics

GROUPS = {UPDATE: "train", VALIDATION: "dev"}  # Beginning of the names of an event's scalars
PREFIX = "events.out.tfevents."  # Beginning of the names of event files, which TensorBoard reads in their order


def check_installed() -> None:
    """Refuse to train if TensorBoard can't be imported (MACHINE)."""
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer import record_writer
    except Exception as error:  # not only an ImportError: packages that do not fit together raise others
        what = f"tensorboard can't be imported: {str(error).splitlines()[0]}"
        do = "Install it with: pip install 'mtx[tensorboard]'."
        raise UserError(ExitCode.MACHINE, what, where="train.log_to", do=do) from error
    del event_pb2, summary_pb2, record_writer


class EventFile:
    """The event file of one session of a run."""

    def __init__(self, folder: Path, metrics: Path, step: int) -> None:
        """Begin a file in `folder` for a run that continues from `step`.

        It replaces what earlier files hold from that step on by the records of `metrics`, or holds all if it is the
        first file.

        Raises:
            UserError: it can't be written (MACHINE).
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self.path = folder / f"{PREFIX}{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        try:
            make_folder(folder)
            has_earlier = any(folder.glob(f"{PREFIX}*"))
            self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
            if has_earlier:
                start = SessionLog(status=SessionLog.START)  # the steps of earlier files end here
                self._append(Event(wall_time=time.time(), step=step, session_log=start))
            for record in read_metrics(metrics) if metrics.exists() else ():
                if not has_earlier or record.get("step", -1) >= step:
                    self._append(_event(record))
        except OSError as error:
            raise machine_error(error, "cannot write", self.path) from error
        self._is_writable = True

    def add(self, record: Record) -> None:
        """Append a record. If that fails, the run goes on without, as metrics.jsonl has the same numbers."""
        if not self._is_writable:
            return
        try:
            self._append(_event(record))
        except OSError as error:
            self._is_writable = False
            what = "no longer logging to TensorBoard, because %s can't be written: %s; metrics.jsonl has all numbers"
            LOGGER.warning(what, self.path, error.strerror or error)

    def _append(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        with self.path.open("ab") as file:
            RecordWriter(file).write(event.SerializeToString())


def _event(record: Record) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(record)]
    return Event(wall_time=time.time(), step=record["step"], summary=Summary(value=values))


def scalars(record: Record) -> Iterator[tuple[str, float]]:
    """Name the numbers of a record: train/loss, dev/bleu, and with several dev sets dev/NAME/bleu."""
    group, sets = GROUPS.get(str(record.get("event")), "other"), record.get("sets", [])
    yield from _numbers(group, {key: value for key, value in record.items() if key != "step"})
    for each in sets if len(sets) > 1 else ():
        yield from _numbers(f"{group}/{each['name']}", each)


def _numbers(group: str, record: Record) -> Iterator[tuple[str, float]]:
    return ((f"{group}/{key}", value) for key, value in record.items() if type(value) in (int, float))
