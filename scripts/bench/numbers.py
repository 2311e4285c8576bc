"""Share of the numbers of a source that its translation has, after a training of the demo's size.

    python -m scripts.bench.numbers numbers/ [tokenizer.split_digits=false …] > numbers.md

Half of the training pairs are the demo's; half hold random numbers, dates, times and prices. All numbers of three
digits or more in the test set are new to the model. Arguments after the folder override training settings.
"""

import argparse
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from mtx.config.load import DEMO
from mtx.demo.corpus import read_demo
from scripts.bench.contest import markdown_table

SIZES = {"train": 15_000, "dev": 300, "test": 500}  # Pairs with numbers
TEMPLATES = (  # N is an integer, P a price, Y a year, D a date, T a time, F a telephone number
    "The ticket costs {P} euros.|Die Fahrkarte kostet {P} Euro.",
    "They paid ${P} for {N} books.|Sie zahlten {P} $ für {N} Bücher.",
    "He was born on {D}.|Er wurde am {D} geboren.",
    "She moved to Berlin in {Y}.|Sie zog {Y} nach Berlin.",
    "{N} people live in this town.|In dieser Stadt leben {N} Menschen.",
    "Please call {F}.|Bitte rufen Sie {F} an.",
    "The train {N} leaves at {T}.|Der Zug {N} fährt um {T} Uhr.",
    "In {Y}, {N} cars were sold.|Im Jahr {Y} wurden {N} Autos verkauft.",
    "The road is {P} km long.|Die Straße ist {P} km lang.",
    "Order {N} of {D} costs {P} euros.|Die Bestellung {N} vom {D} kostet {P} Euro.",
    "The meeting on {D} begins at {T} in room {N}.|Die Sitzung am {D} beginnt um {T} Uhr in Raum {N}.",
    "Since {Y} the price of {P} euros rose by {N} percent.|Seit {Y} stieg der Preis von {P} Euro um {N} Prozent.",
)
MONTHS = (
    *(("January", "Januar"), ("February", "Februar"), ("March", "März"), ("April", "April"), ("May", "Mai")),
    *(("June", "Juni"), ("July", "Juli"), ("August", "August"), ("September", "September"), ("October", "Oktober")),
    *(("November", "November"), ("December", "Dezember")),
)


def draw_number(kind: str, draw: Random) -> tuple[str, str]:
    """Draw a number of a kind as the source and the target write it."""
    number = str(draw.randrange(1, 10 ** draw.randint(1, 5)))
    year, cents = draw.randint(1500, 2099), f"{draw.randrange(100):02}"
    if kind == "P":
        return f"{number}.{cents}", f"{number},{cents}"
    if kind == "D":
        day, (month, german_month) = draw.randint(1, 28), draw.choice(MONTHS)
        return f"{month} {day}, {year}", f"{day}. {german_month} {year}"
    both = {
        "N": number,
        "Y": str(year),
        "T": f"{draw.randrange(24)}:{draw.randrange(60):02}",
        "F": f"0{draw.randint(20, 99)}-{draw.randrange(10**6):06}",
    }[kind]
    return both, both


def numbers_in(text: str) -> list[str]:
    """Find the numbers in a text, whatever separates thousands, decimals or minutes."""
    return [re.sub(r"\D", "", number) for number in re.findall(r"\d+(?:[.,:-]\d+)*", text)]


def draw_pairs(split: str) -> Iterator[tuple[str, str]]:
    """Draw pairs with numbers of a split. Every third number of three digits or more is left for the test set."""
    draw = Random(split)
    while True:
        src, tgt = draw.choice(TEMPLATES).split("|")
        for kind in re.findall(r"{(.)}", src):
            written = draw_number(kind, draw)
            src, tgt = src.replace(f"{{{kind}}}", written[0]), tgt.replace(f"{{{kind}}}", written[1])
        long = [int(number) % 3 == 0 for number in numbers_in(src) if len(number) > 2]
        if all(long) if split == "test" else not any(long):
            yield src, tgt


def main() -> None:
    """Train, translate the test set, and print a table with a row for each kind of line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True)
    pairs = {split: list(islice(draw_pairs(split), size)) for split, size in SIZES.items()}
    pairs["train"] += islice(read_demo("train"), SIZES["train"])
    for split, of_split in pairs.items():
        (folder / f"{split}.tsv").write_text("".join(f"{src}\t{tgt}\n" for src, tgt in of_split), encoding="utf-8")
    sources = "".join(f"{src}\n" for src, _ in pairs["test"])
    sets = [f"data.{split}={'[{tsv: FILE}]' if split == 'train' else '{tsv: FILE}'}" for split in SIZES]
    sets = [each.replace("FILE", str(folder / f"{split}.tsv")) for each, split in zip(sets, SIZES, strict=True)]
    mtx, run = [sys.executable, "-m", "mtx"], str(folder / "run")
    train = ["train", "--config", str(DEMO), "--run-dir", run, *sets, *arguments.overrides]
    subprocess.run([*mtx, *train], stdout=sys.stderr, check=True)
    translate = [*mtx, "translate", "--model", run]
    output = subprocess.run(translate, input=sources, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
    rows = []
    for template in ("all", *(template.split("|")[0] for template in TEMPLATES)):
        begins = re.compile(re.sub(r"\\{.\\}", r"[\\w., :-]+", re.escape(template)) + "$")
        found = total = 0
        for (src, _), hypothesis in zip(pairs["test"], output.splitlines(), strict=True):
            if template == "all" or begins.match(src):
                wanted, has = Counter(numbers_in(src)), Counter(numbers_in(hypothesis))
                found, total = found + (wanted & has).total(), total + wanted.total()
        rows.append({"lines": template, "numbers": f"{total}", "in the output": f"{found / total:.2%}"})
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
