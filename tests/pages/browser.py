"""A headless Chromium driven over a pipe by the DevTools protocol, without packages for it."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
TIMEOUT = 60  # Seconds after which the browser is killed
# Chromium reads messages from file descriptor 3 and writes to 4.
ON_PIPES = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'


class Tab:
    """A tab that shows pages."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.session: dict[str, str] = {}
        self.complaints: list[dict[str, Any]] = []  # Errors of scripts, and what the policy of the page forbade
        self.number = 0
        target = self.call("Target.createTarget", url="about:blank")
        attached = self.call("Target.attachToTarget", flatten=True, **target)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        assert self.process.stdin
        self.number += 1
        message = {"id": self.number, "method": method, "params": params, **self.session}
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        self.process.stdin.flush()
        answer = self.wait_for("id", self.number)
        assert "error" not in answer, answer
        return answer["result"]

    def wait_for(self, key: str, value: object) -> dict[str, Any]:
        """The next message with this value."""
        assert self.process.stdout
        while True:
            text = b""
            while not text.endswith(b"\0"):
                char = self.process.stdout.read(1)
                assert char, "the browser has ended"
                text += char
            message: dict[str, Any] = json.loads(text[:-1])
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(message["params"])
            if message.get(key) == value:
                return message

    def show(self, page: Path, width: int, height: int, is_dark: bool) -> None:
        """Open a page in a window of a size, and wait until it is loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("method", "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of the promise that a script returns."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")


@contextmanager
def new_tab(folder: Path) -> Iterator[Tab]:
    """A tab in a new browser that keeps its data in `folder`; without a browser, the test is skipped."""
    if BROWSER is None:
        pytest.skip("no Chromium: install the package chromium")
    command = ["sh", "-c", ON_PIPES, "sh", BROWSER, *OPTIONS, f"--user-data-dir={folder}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        timer = threading.Timer(TIMEOUT, process.kill)
        timer.start()
        try:
            tab = Tab(process)
            yield tab
            tab.session = {}
            tab.call("Browser.close")
        finally:
            timer.cancel()
            process.kill()
