"""Precision and recall of sentence boundaries, on neighbouring lines of corpora joined to one.

    python -m scripts.bench.sentences en:train.en.gz de:train.de.gz zh:train.zh.gz > sentences.md

Two to four lines are joined, those that begin as a sentence does (not with a lower-case letter) and end with a mark.
Boundaries are the joints and, because many lines hold several sentences, places within a line that are beyond doubt: a
mark after a word of at least five lower-case letters and before a capital, or a Chinese full stop, question or
exclamation mark. Recall is of the joints alone. Each cut at any other place counts as wrong.
"""

import argparse
import random
from itertools import accumulate, islice
from pathlib import Path

import regex

from mtx.data.sources.text import read_lines
from mtx.text.sentences import split_sentences
from mtx.text.writing_systems import writes_spaces
from scripts.bench.contest import markdown_table

BEGINS = regex.compile(r"""["'“«(\[]*\s?[\p{Lu}\p{Lo}\p{N}]""")
ENDS = regex.compile(r"""[.!?…。！？]["'”’»)\]]*$""")
BEYOND_DOUBT = regex.compile(
    r"""(?:\p{Ll}{5}[.!?]["'”’»)\]]*\s+(?=["'“«(]*\p{Lu})|[?!。！？]["'”’»)\]]*\s*(?=\p{Han}))"""
)


def measure(language: str, path: Path, num_lines: int) -> dict[str, str]:
    """Join the first usable lines of a file at random, and compare cuts with boundaries; returns a row of the table."""
    draw, space = random.Random(1), " " if writes_spaces(language) else ""
    stripped = (line.strip() for line in read_lines(path))
    lines = list(islice((line for line in stripped if BEGINS.match(line) and ENDS.search(line)), num_lines))
    num_joints = num_found = num_cuts = num_wrong = 0
    while lines:
        count = draw.randint(2, 4)
        joined, lines = lines[:count], lines[count:]
        text = space.join(joined)
        joints = set(accumulate(len(line + space) for line in joined[:-1]))
        cuts = set(accumulate(map(len, split_sentences(text, language)[:-1])))
        num_joints, num_found = num_joints + len(joints), num_found + len(joints & cuts)
        num_cuts += len(cuts)
        num_wrong += len(cuts - joints - {match.end() for match in BEYOND_DOUBT.finditer(text)})
    precision, recall = 1 - num_wrong / num_cuts, num_found / num_joints
    corpus = f"{path.parent.name} {language}"
    return {"corpus": corpus, "joints": f"{num_joints:,}", "recall": f"{recall:.4f}", "precision": f"{precision:.4f}"}


def main() -> None:
    """Print a table with a row for each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="LANGUAGE:FILE")
    parser.add_argument("--lines", type=int, default=6000, help="usable lines of each file")
    arguments = parser.parse_args()
    given = [file.split(":", 1) for file in arguments.files]
    print(markdown_table([measure(language, Path(path), arguments.lines) for language, path in given]))


if __name__ == "__main__":
    main()
