"""Local files need no network, no home and no cache: training, translating and scoring open no connection."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import json, sys
events = []
sys.addaudithook(lambda event, arguments: events.append(event) if event.startswith(("socket.", "urllib.")) else None)
from mtx.cli import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["mtx", *arguments]
    try:
        main()
    except SystemExit as ended:
        print("code", ended.code or 0, flush=True)
import socket
offences = [*events]
socket.socket().close()
print("events", len(offences), "seen", len(events) > len(offences), flush=True)
"""


@pytest.mark.process
def test_local_files_open_no_connection(finished_run: Path, tmp_path: Path) -> None:
    for path in finished_run.parent.parent.glob("*.*"):
        shutil.copy(path, tmp_path)
    commands = [
        ["train", "--config", "my.yaml", "--run-dir", "run", "train.max_steps=2", "train.eval_every=2"],
        ["translate", "--model", "run", "The dog sees a cat."],
        ["evaluate", "--model", "run", "--beam", "1"],
        ["tokenizer", "encode", "--model", "run"],
    ]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(commands)],
        cwd=tmp_path,
        env={**kept, "HOME": "/proc/nowhere"},
        input="the dog\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 0"] * 4, done.stderr
    assert done.stdout.splitlines()[-1] == "events 0 seen True"
    assert not list(tmp_path.rglob(".cache"))
