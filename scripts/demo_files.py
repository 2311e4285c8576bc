"""Write the splits of the demo as files, and compare translations of them with baselines.

python scripts/demo_files.py write FOLDER
python scripts/demo_files.py score --test-hyp FILE --pronoun-hyp FILE
"""

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from mtx.data.sources.text import read_lines
from mtx.demo.baselines import first_noun, learn_dictionary, pronoun_accuracy, word_for_word
from mtx.demo.corpus import SIZES, read_demo
from mtx.errors import ExitCode, UserError

_DICTIONARY_PAIRS = 2_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="write train, dev, test and pronouns as .en and .de files")
    writing.add_argument("folder", type=Path)
    scoring = commands.add_parser("score", help="compare translations of test.en and pronouns.en with the baselines")
    scoring.add_argument("--test-hyp", type=Path, required=True, help="translations of test.en, one per line")
    scoring.add_argument("--pronoun-hyp", type=Path, required=True, help="translations of pronouns.en, one per line")
    given = parser.parse_args(arguments)
    try:
        if given.command == "write":
            write(given.folder)
        else:
            print(compare(list(read_lines(given.test_hyp)), list(read_lines(given.pronoun_hyp))))
    except UserError as error:
        parser.exit(error.code, "".join(f"mtx: error: {line}\n" for line in error.lines))
    return ExitCode.DONE


def write(folder: Path) -> None:
    """Write `SPLIT.en` and `SPLIT.de` for each split.

    Raises:
        UserError: the folder cannot be written (MACHINE).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for split in SIZES:
            src, tgt = zip(*read_demo(split), strict=True)
            for language, lines in (("en", src), ("de", tgt)):
                text = "".join(f"{line}\n" for line in lines)
                (folder / f"{split}.{language}").write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        what = f"cannot write to {folder}: {(error.strerror or str(error)).lower()}"
        raise UserError(ExitCode.MACHINE, what, do="Give a folder that can be written.") from error


def compare(test: Sequence[str], pronouns: Sequence[str]) -> str:
    """Format a table of test BLEU and pronoun accuracy of the translations and of both baselines.

    Raises:
        UserError: a file does not have one line per sentence (DATA).
    """
    test_pairs, pronoun_pairs = list(read_demo("test")), list(read_demo("pronouns"))
    for name, hypotheses, pairs in (("test", test, test_pairs), ("pronouns", pronouns, pronoun_pairs)):
        if len(hypotheses) != len(pairs):
            what = f"{len(hypotheses):,} translations for the {len(pairs):,} sentences of {name}.en"
            raise UserError(ExitCode.DATA, what, do=f"Translate {name}.en again, one line per sentence.")
    dictionary = learn_dictionary(islice(read_demo("train"), _DICTIONARY_PAIRS))
    rows = [("model", test, pronouns)]
    for name, baseline in (("word for word", word_for_word), ("first noun", first_noun)):
        translations = [[baseline(src, dictionary) for src, _ in pairs] for pairs in (test_pairs, pronoun_pairs)]
        rows.append((name, translations[0], translations[1]))
    lines = [f"{'':<16}{'test BLEU':>10}{'pronouns right':>16}"]
    for name, test_hypotheses, pronoun_hypotheses in rows:
        right = pronoun_accuracy(pronoun_hypotheses, [tgt for _, tgt in pronoun_pairs])
        lines.append(f"{name:<16}{bleu(test_hypotheses, [tgt for _, tgt in test_pairs]):>10.1f}{right:>15.1f}%")
    lines.append("The corpus is synthetic, drawn from a grammar: these scores say nothing about real text.")
    return "\n".join(lines)


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """BLEU in percent, by sacreBLEU."""
    from sacrebleu import corpus_bleu

    return float(corpus_bleu(list(hypotheses), [list(references)]).score)


if __name__ == "__main__":
    raise SystemExit(main())
