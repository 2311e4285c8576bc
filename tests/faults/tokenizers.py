"""Damaged SentencePiece models, each loaded and used in a child process: refused, or they work; nothing dies.

    python -m tests.faults.tokenizers --count 10000

Without --model, two small models of random words are trained, with and without SentencePiece's tables of characters.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from mtx.config.settings import TokenizerSettings
from mtx.errors import UserError
from mtx.text.tokenizer import Tokenizer
from mtx.text.train_tokenizer import train_tokenizer
from tests.faults.attempts import outcomes, report, run_attempts

TEXTS = ["the dog é\0 <s> </s> \u2581", "ﬁ ① 日本 ｶﾞ e\u0301", "", " ", "ab" * 500]


def mutant(model: bytes, draw: random.Random) -> bytes:
    """`model`, changed at some places in one of several ways."""
    damaged = bytearray(model)
    change = draw.choice([flip_bit, set_byte, cut_out, insert, set_length, swap_fields, cut_off])
    for _ in range(draw.choice([1, 1, 1, 3, 30])):
        change(damaged, draw)
    return bytes(damaged)


def place(model: bytearray, draw: random.Random) -> int:
    """Draw an offset; more often near the beginning, where the pieces are."""
    return draw.randrange(max(1, draw.choice([len(model), min(len(model), 2000)])))


def flip_bit(model: bytearray, draw: random.Random) -> None:
    """Flip one bit, as a failing disk does."""
    if model:
        model[place(model, draw)] ^= 1 << draw.randrange(8)


def set_byte(model: bytearray, draw: random.Random) -> None:
    """Set a byte to one that has a meaning in a protobuf, or to any."""
    if model:
        model[place(model, draw)] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, 0x0A, draw.randrange(256)])


def cut_out(model: bytearray, draw: random.Random) -> None:
    """Remove up to 49 bytes."""
    start = place(model, draw)
    del model[start : start + draw.randrange(1, 50)]


def insert(model: bytearray, draw: random.Random) -> None:
    """Insert up to 8 random bytes, or thousands of the same one."""
    start = place(model, draw)
    model[start:start] = draw.randbytes(draw.randrange(1, 9)) if draw.random() < 0.9 else b"a" * 5000


def set_length(model: bytearray, draw: random.Random) -> None:
    """Set the length of a field: the byte after a key that many fields have."""
    start = model.find(b"\n", place(model, draw)) + 1
    if 0 < start < len(model):
        model[start : start + 1] = draw.choice([b"\0", b"\x7f", b"\xff\x7f", b"\xff\xff\xff\xff\x0f", b"\xff" * 10])


def swap_fields(model: bytearray, draw: random.Random) -> None:
    """Swap two stretches of the same length, so that fields change places."""
    size = draw.randrange(1, 40)
    first, second = place(model, draw), place(model, draw)
    if max(first, second) + size <= len(model) and abs(first - second) >= size:
        one, other = model[first : first + size], model[second : second + size]
        model[first : first + size], model[second : second + size] = other, one


def cut_off(model: bytearray, draw: random.Random) -> None:
    """Remove everything from some offset on."""
    del model[place(model, draw) :]


def attempts(models: Sequence[bytes], seed: int) -> Callable[[int], str]:
    """Make the function that loads the mutant of a number, from one of `models`, and returns the outcome."""

    def attempt(number: int) -> str:
        damaged = mutant(models[number % len(models)], random.Random(f"{seed} {number}"))
        try:
            tokenizer = Tokenizer.from_files({"spm.model": damaged})
            ids = [*tokenizer.encode_src(TEXTS), list(range(min(tokenizer.tgt_vocab_size, 500)))]
            tokenizer.decode(ids)
        except UserError:
            return "refused"
        except Exception as error:
            return type(error).__name__
        return "works"

    return attempt


def write_models(folder: Path) -> list[Path]:
    """Train two small models into `folder`."""
    draw = random.Random(0)
    lines = [" ".join("".join(draw.choices("abcdefghij", k=4)) for _ in range(8)) for _ in range(300)]
    paths = []
    for normalization in ("nmt_nfkc", "identity"):
        settings = TokenizerSettings(vocab_size=400, normalization=normalization)
        paths.append(folder / f"{normalization}.model")
        paths[-1].write_bytes(train_tokenizer(lines, [], settings, print).files["spm.model"])
    return paths


def try_mutants(models: Sequence[Path], count: int, seed: int) -> list[str]:
    """Load `count` mutants of `models` in child processes; return the outcomes."""
    return outcomes([__file__, f"--seed={seed}", *(f"--model={path}" for path in models), "--child"], count)


def main() -> int:
    """Be the child, or try mutants and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, action="append", help="SentencePiece model to damage; several")
    parser.add_argument("--count", type=int, default=10_000, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # SentencePiece's own notes
        run_attempts(*options.child, attempts([path.read_bytes() for path in options.model], options.seed))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        models = options.model or write_models(Path(folder))
        return report(try_mutants(models, options.count, options.seed))


if __name__ == "__main__":
    sys.exit(main())
