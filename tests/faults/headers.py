"""Made-up headers of safetensors files, each loaded in a child process with little memory: refused, or they work.

python -m tests.faults.headers --count 10000
"""

import argparse
import json
import random
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from mtx.checkpoint.tensors import load_tensors
from mtx.errors import UserError
from tests.faults.attempts import outcomes, report, run_attempts

MEMORY = 200 << 20
"""Bytes that all attempts together may map, in addition to the memory of Python and torch."""

DTYPES = ["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "PICKLE", "", 7, None]
NUMBERS = [0, 1, 2, 3, 4, 6, 8, 24, -1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 1e999, 0.5, "6", None, [], {}]


def made_up(draw: random.Random) -> bytes:
    """Draw a file of a few tensors with arbitrary details, or a valid file with some bytes changed."""
    header: dict[str, Any] = {}
    size = 0
    for _ in range(draw.randrange(4)):
        shape: Any = [draw.randrange(1, 4) for _ in range(draw.randrange(3))]
        length = 4
        for each in shape:
            length *= each
        record: dict[str, Any] = {"dtype": "F32", "shape": shape, "data_offsets": [size, size + length]}
        size += length
        if draw.random() < 0.4:
            key = draw.choice([*record, "more"])
            numbers = [draw.choice(NUMBERS) for _ in range(draw.randrange(4))]
            record[key] = draw.choice([draw.choice(DTYPES), draw.choice(NUMBERS), numbers])
        header[draw.choice(["a", "b", "c.d", "", "__metadata__", "../x", "\ud800", "n" * 5000])] = record
    text = bytearray(json.dumps(header).encode())
    for _ in range(draw.choice([0, 0, 1, 5])):
        text[draw.randrange(len(text))] = draw.randrange(256)
    length = draw.choice([len(text)] * 5 + [0, len(text) - 1, len(text) + 1, 2**20, 10**8, 2**63, 2**64 - 1])
    return length.to_bytes(8, "little") + bytes(text) + bytes(draw.choice([size] * 5 + [0, size + 1, 100]))


def attempts(folder: Path, seed: int) -> Callable[[int], str]:
    """Make the function that loads the made-up file of a number and returns the outcome."""

    def attempt(number: int) -> str:
        path = folder / "weights"
        path.write_bytes(made_up(random.Random(f"{seed} {number}")))
        try:
            tensors = load_tensors(path)
            num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        except UserError:
            return "refused"
        except Exception as error:
            return type(error).__name__
        return "works" if num_bytes <= path.stat().st_size else "larger-than-the-file"

    return attempt


def try_headers(count: int, seed: int) -> list[str]:
    """Load `count` made-up files in child processes; return the outcomes."""
    return outcomes([__file__, f"--seed={seed}", "--child"], count)


def main() -> int:
    """Be the child, or try headers and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many files")
    parser.add_argument("--seed", type=int, default=0, help="of what is made up")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is None:
        return report(try_headers(options.count, options.seed))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as folder:
        run_attempts(*options.child, attempts(Path(folder), options.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
