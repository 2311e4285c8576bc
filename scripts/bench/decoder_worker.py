"""Serve a decoder: each turn translates some source sentences, all at once or one at a time, and takes the time.

A request is {"beam", "first", "count", "setting"}, and "singly": true for one sentence at a time. Imports only the
standard library, since every Python of the contest runs this.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from scripts.bench.worker import Facts, serve

Translate = Callable[[Sequence[str]], tuple[list[str], int]]
"""Maps sentences to translations and the number of tokens generated, end symbols included."""


def serve_decoder(make: Callable[..., Translate], source: Path, about: Facts) -> None:
    """Answer turns over the lines of `source` with `make(beam, **setting)`; the call of `make` is not timed."""
    lines = source.read_text(encoding="utf-8").removesuffix("\n").split("\n")

    @lru_cache(maxsize=1)
    def made(beam: int, setting: str) -> Translate:
        return make(beam, **json.loads(setting))

    def turn(request: dict[str, Any]) -> Facts:
        translate = made(request["beam"], json.dumps(request["setting"]))
        chosen = lines[request["first"] :][: request["count"]]
        return _one_at_a_time(translate, chosen) if request.get("singly") else _at_once(translate, chosen)

    serve(turn, about)


def _at_once(translate: Translate, lines: Sequence[str]) -> Facts:
    start = time.perf_counter()
    texts, tokens = translate(lines)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "sentences": len(lines), "tokens": tokens, "texts": texts}


def _one_at_a_time(translate: Translate, lines: Sequence[str]) -> Facts:
    milliseconds = []
    for line in lines:
        start = time.perf_counter()
        translate([line])
        milliseconds.append(1000 * (time.perf_counter() - start))
    return {"seconds": sum(milliseconds) / 1000, "sentences": len(lines), "milliseconds": milliseconds}
