"""What a decoder does with a turn: some of the source sentences, all at once or one at a time, timed.

A request is {"beam", "first", "count", "setting"}, the last one what the decoder can be set to, and "singly" for one
sentence at a time. Importable by any Python of the contest: the standard library only.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from scripts.bench.worker import Facts, serve

Translate = Callable[[Sequence[str]], tuple[list[str], int]]
"""Sentences to their translations, and how many tokens were generated for these, end symbols included."""


def serve_decoder(make: Callable[..., Translate], source: Path, about: Facts) -> None:
    """Answer turns over the lines of `source` by what `make(beam, **setting)` gives; making it is not counted."""
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
