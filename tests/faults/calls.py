"""Calls of this process that change the disk: record them, or let the n-th fail."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass(frozen=True, slots=True)
class Call:
    """One call, about to be made."""

    name: str
    """open (for writing), write, fsync, mkdir, rename, unlink or rmdir."""
    path: str
    to: str = ""
    """New path, if `name` is rename."""
    data: bytes = b""
    """Bytes to write, if `name` is write."""


@contextmanager
def watched_calls(before: Callable[[Call], None]) -> Iterator[None]:
    """Call `before` ahead of every call that changes the disk. If it raises, the call is not made."""
    paths: dict[int, str] = {}  # of open descriptors
    real_io_open, real_os_open = io.open, os.open

    class WatchedFile(io.FileIO):
        def write(self, data: Any) -> int:
            before(Call("write", os.fspath(self.name), data=bytes(data)))
            return super().write(data)

    def path_of(path: Any, folder: int | None) -> str:
        return os.fspath(path) if folder is None else os.path.join(paths[folder], os.fspath(path))

    def open_file(file: Any, mode: str = "r", buffering: int = -1, *text: Any, **more: Any) -> Any:
        if not {*mode} & {*"wax"}:
            return real_io_open(file, mode, buffering, *text, **more)
        before(Call("open", os.fspath(file)))
        raw = WatchedFile(file, mode.replace("b", "").replace("t", ""))
        paths[raw.fileno()] = os.fspath(file)
        stream = io.BufferedWriter(raw)
        return stream if "b" in mode else io.TextIOWrapper(stream, *(text or [more.get("encoding")]))

    def open_descriptor(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = real_os_open(path, flags, mode, dir_fd=dir_fd)
        paths[descriptor] = path_of(path, dir_fd)
        return descriptor

    def watched(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(path: Any, *rest: Any, dir_fd: int | None = None, **more: Any) -> Any:
            if name == "fsync":
                before(Call("fsync", paths[path]))
            elif name in ("rename", "replace"):
                before(Call("rename", os.fspath(path), os.fspath(rest[0])))
            else:
                before(Call(name, path_of(path, dir_fd)))
            return real(path, *rest, **more, **({} if dir_fd is None else {"dir_fd": dir_fd}))

        return call

    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(io, "open", open_file))
        patches.enter_context(mock.patch.object(os, "open", open_descriptor))
        for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
            patches.enter_context(mock.patch.object(os, name, watched(name)))
        yield


@contextmanager
def recorded_calls() -> Iterator[list[Call]]:
    """Record every call in the list."""
    calls: list[Call] = []
    with watched_calls(calls.append):
        yield calls


@contextmanager
def failing_call(number: int, error: int) -> Iterator[None]:
    """Let call `number`, counted from 0, fail with `error`, such as `errno.ENOSPC`."""
    count = iter(range(1_000_000))

    def fail(call: Call) -> None:
        if next(count) == number:
            raise OSError(error, os.strerror(error), call.path)

    with watched_calls(fail):
        yield
