"""Table of user errors, one row per case, with the answer that `mtx` must give; numbered as in issue 4.

Every row starts in its own folder. The folder holds `BASE`, the row's files, and those of the following that its
command names: `run` (a finished run), `model` (its model folder), `damaged` (a model folder with a flipped bit),
`spm.model` (its tokenizer), `cut.model` (half of it). In every case, the answer has one line per problem and no
traceback, and no file of the folder changes except those in `writes`.
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

EN = [
    f"The {noun} {verb} a {other}."
    for noun in ("dog", "cat")
    for verb in ("sees", "hears")
    for other in ("man", "bird")
]
DE = [
    f"Der {noun} {verb} den {other}."
    for noun in ("Hund", "Kater")
    for verb in ("sieht", "hört")
    for other in ("Mann", "Vogel")
]


def text(*lines: str) -> bytes:
    """These lines as a file."""
    return "".join(f"{line}\n" for line in lines).encode()


CONFIG = """\
data: {train: [{src: train.en, tgt: train.de}], dev: {src: dev.en, tgt: dev.de}}
tokenizer: {vocab_size: 300}
model: {d_model: 16, num_heads: 2, d_ff: 16, encoder_layers: 1, decoder_layers: 1}
train: {max_steps: 2, batch_tokens: 256, precision: fp32, device: cpu}
"""

BASE = {
    "my.yaml": CONFIG.encode(),
    "train.en": text(*EN),
    "train.de": text(*DE),
    "dev.en": text("A dog sees a bird."),
    "dev.de": text("Ein Hund sieht einen Vogel."),
}

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(20))


@dataclass(frozen=True, slots=True)
class Row:
    """One case: the arguments of `mtx` and the required answer."""

    id: str
    command: list[str]
    code: int = 0
    says: list[str] = field(default_factory=list)
    """Texts that stderr must contain: the place and the remedy."""
    num_errors: int = 1
    """Number of error lines, unless `code` means success."""
    files: dict[str, bytes | int | None] = field(default_factory=dict)
    """Content, the size of a file full of zeros, or None for a folder."""
    stdin: bytes = b""
    out: bytes | None = None
    """Exact content of stdout, if checked."""
    num_lines: int | None = None
    """Number of lines on stdout, if checked."""
    writes: list[str] = field(default_factory=list)
    """Files that the command creates or changes."""


def lay_out(row: Row, folder: Path, run: Path) -> None:
    """Make the files of `row` in `folder`; `run` is a finished run."""
    for name, content in (BASE | row.files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif isinstance(content, int):
            path.touch()
            with path.open("r+b") as file:
                file.truncate(content)
        else:
            path.write_bytes(content)
    model = run / "model"
    if "run" in row.command:
        shutil.copytree(run, folder / "run")
    for name in {"model", "damaged"} & {*row.command}:
        shutil.copytree(model, folder / name)
    if "damaged" in row.command:
        weights = bytearray((model / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (folder / "damaged" / "model.safetensors").write_bytes(weights)
    spm = (model / "spm.model").read_bytes()
    for name, content in (("spm.model", spm), ("cut.model", spm[: len(spm) // 2])):
        if name in row.command and name not in row.writes:
            (folder / name).write_bytes(content)


TRAIN = ["train", "--config", "my.yaml", "--run-dir", "new"]
PLAN = [*TRAIN, "--dry-run"]
VALIDATE = ["config", "validate", "bad.yaml"]
TRANSLATE = ["translate", "--model", "model", "--beam", "1"]
EVALUATE = ["evaluate", "--hyp", "dev.de"]
VOCABULARY = ["tokenizer", "train", "--output", "new.model"]


def changed(key: str, value: str) -> dict[str, bytes | int | None]:
    """A config `bad.yaml` whose line `key` holds `value`."""
    return {"bad.yaml": f"{CONFIG}{key}: {value}\n".encode()}


ROWS = [
    # --- train ---
    Row("B1", TRAIN, 3, ["train.en has 8 lines, train.de 7", "Line n of each"], files={"train.de": text(*DE[1:])}),
    Row("B2", PLAN, 0, ["kept 6 of 8 pairs: dropped 2 empty"],
        files={"train.en": text("", *EN[1:]), "train.de": text(*DE[:7], " ")}),
    Row("B3", TRAIN, 3, ["no text to train a vocabulary on"], files={"train.en": b"", "train.de": b""}),
    Row("B3", TRAIN, 3, ["dropped 8 empty", "train.en and train.de"], files={"train.en": b"\n" * 8}),
    Row("B3", [*TRAIN, "data.max_tokens=2"], 3, ["dropped 8 longer than 2 tokens", "Give pairs"]),
    Row("B4", TRAIN, 3, ["not UTF-8 (", "train.de line 2 byte 3)", "Convert"], files={"train.de": b"a\nb \xff\n" * 4}),
    Row("B4", TRAIN, 3, ["UTF-16, not UTF-8 (", "train.en line 1"], files={"train.en": "Hi\n".encode("utf-16")}),
    Row("B4", [*PLAN, "data.train=[{src: train.en, tgt: l1.de, encoding: latin-1}]"], 0, ["kept 8 of 8"],
        files={"l1.de": "\n".join(DE).encode("latin-1")}),
    Row("B4", [*TRAIN, "data.train=[{src: train.en, tgt: train.de, encoding: utf-16}]"],
        2, ["utf-8, latin-1", "Did you mean utf-8?"]),
    Row("B5", [*TRAIN, "train.max_stpes=3"], 2, ["unknown key train.max_stpes", "Did you mean max_steps?"]),
    Row("B6", VALIDATE,
        2, ["train.lr must be a number", "model.dropout must be at least 0 and below 1", "(bad.yaml line 2)"],
        num_errors=4, files={"bad.yaml": b"data: {train: [{demo: train}]}\n"
                             b"train: {lr: fast, clip_norm: .nan, max_steps: 1000000001}\nmodel: {dropout: 1.5}"}),
    Row("B6", [*TRAIN, "model.num_heads=7"], 2, ["model.d_model (16) must be a multiple of model.num_heads (7)"]),
    Row("B7", [*PLAN, "train.lr=1e-4"]),
    Row("B7", [*PLAN, "data.src_lang=no"]),
    Row("B7", [*TRAIN, "tokenizer.joint=no"], 2, ["tokenizer.joint must be true or false, got 'no'"]),
    Row("B7", VALIDATE, 2, ["train.lr is given twice, first at bad.yaml line 2 (bad.yaml line 3)", "Remove one"],
        files={"bad.yaml": b"train:\n  lr: 1\n  lr: 2\ndata: {train: [{demo: train}]}"}),
    Row("B8", VALIDATE, 2, ["no such file", "Give the path"]),
    Row("B8", VALIDATE, 2, ["is a directory", "Give the path"], files={"bad.yaml": None}),
    Row("B8", VALIDATE, 2, ["the config is empty", "Begin it with data:"], files={"bad.yaml": b""}),
    Row("B8", VALIDATE, 2, ["not UTF-8 text (bad.yaml line 2)", "Save it"], files={"bad.yaml": b"a\n\x80\xff"}),
    Row("B8", VALIDATE, 2, ["the config is larger than", "Give a YAML file"], files={"bad.yaml": 1 << 30}),
    Row("B8", VALIDATE, 2, ["the config is a list, not a mapping", "Begin it"], files={"bad.yaml": b"- 1\n"}),
    Row("B8", VALIDATE, 2, ["aliases (*) are not supported", "text in quotes"], files={"bad.yaml": BOMB.encode()}),
    Row("B9", [*TRAIN, "data.dev={src: no.en, tgt: dev.de}"], 3, ["no.en: no such file", "Give a text file"]),
    Row("B9", [*TRAIN, "data.dev={dataset: ./owner/name}"], 3, ["no data set at", "owner/name"]),
    Row("B9", [*TRAIN, f"data.dev={{tsv: {'x' * 300}}}"], 3, ["file name too long", "Give a text file"]),
    Row("B9", [*TRAIN, "data.dev={tsv: my.yaml/below}"], 3, ["not a directory", "Give a text file"]),
    Row("B10", [*PLAN, "data.train=[{tsv: a.tsv}]"], 0, ["kept 8 of 8"],
        files={"a.tsv": text(*(f'"{src}\tNA "{tgt}' for src, tgt in zip(EN, DE, strict=True)))}),
    Row("B10", [*TRAIN, "data.train=[{tsv: a.tsv}]"], 3, ["found 1 columns, needed 2 (", "a.tsv line 2)", "by one tab"],
        files={"a.tsv": b"a\tb\nalone\n"}),
    Row("B11", [*PLAN, "tokenizer.vocab_size=9000"], 0, ["vocabulary lowered from 9000 to "]),
    Row("B12", TRAIN, 3, ["no pair of sentences to use", "Give pairs"], files={"dev.en": b"", "dev.de": b""}),
    Row("B12", [*PLAN, "data.dev={src: train.en, tgt: train.de}"], 0, ["the dev pairs are training pairs"]),
    Row("B13", PLAN, 0, ["dropped 1 over 1 MB"],
        files={"train.en": text(*EN, "a" * 10_000_000), "train.de": text(*DE, "zu lang")}),
    Row("B14", [*PLAN, "data.train=[{src: train.de, tgt: train.de}]"],
        0, ["in 8 of 8 pairs source and target are the same"]),
    Row("B1", [*PLAN, "data.test={src: dev.en, tgt: train.de}"], 3, ["dev.en has 1 lines, train.de 8"]),
    Row("B9", [*PLAN, "data.test={dataset: ./owner/name}"], 3, ["no data set at", "owner/name"]),
    Row("B10", [*TRAIN, "data.train=[{tsv: a.tsv}]"], 3, ["found 3 columns, 2 are usual (", "a.tsv line 3)"],
        files={"a.tsv": b"a\tb\n\nstray\ttab\tinside\n"}),
    Row("B12", [*PLAN, "data.test={src: train.en, tgt: train.de}"], 0, ["the test pairs are training pairs"]),
    # --- translate ---
    Row("B20", TRANSLATE, out="\n  \n\t\n\u3000 \n".encode(), stdin="\n  \n\t\n\u3000\u2028\n".encode()),
    Row("B21", TRANSLATE, out=b"", stdin=b""),
    Row("B22", TRANSLATE, num_lines=5, stdin="a\x85b\u2028c\rd\n\n\x0b\x0c\r\n<0x0A>\nlast".encode()),
    Row("B22", [*TRANSLATE, "-o", "-"], num_lines=1, stdin=b"a"),
    Row("B23", TRANSLATE, 3, ["not UTF-8 (stdin line 2 byte 3)", "Convert"], num_lines=1, stdin=b"ok\nab\xff\nok\n"),
    Row("B23", [*TRANSLATE, "--errors", "stop", "--input", "a"], 3, ["(a line 1 byte 1)"], num_lines=0,
        files={"a": b"\xff"}),
    Row("B23", [*TRANSLATE, "--errors", "replace"], num_lines=3, stdin=b"ok\nab\xff\nok\n"),
    Row("B23", [*TRANSLATE, "--errors", "keep"], 3, ["2 lines are not", "(stdin line 1 byte 1, stdin line 3 byte 2)"],
        num_lines=3, stdin=b"\xff\nok\na\xff"),
    Row("B23", [*TRANSLATE, "--errors", "keep", "--output", "out"], 3, ["1 lines are not UTF-8"], writes=["out"],
        stdin=b"\xff\n"),
    Row("B24", TRANSLATE, num_lines=4,
        stdin="a\0b\x1b[2J\n😀 e\u0301\u0308\nשלום \u202eabc\n\ud7ff\ue000\uffff\n".encode()),
    Row("B25", TRANSLATE, num_lines=1, stdin=b"</s> <pad> <2fr> <s> <unk>\n"),
    Row("B26", TRANSLATE, num_lines=1, stdin="\u2581a\u2581\u2581b \u2585\n".encode()),
    Row("B27", TRANSLATE, num_lines=3, stdin=b"1234567890 http://a.b/c?d=e&f\n" + b"dog " * 1000 + b"\n" + b"d" * 2000),
    Row("B27", [*TRANSLATE, "--on-too-long", "truncate", "--input", "a\x1b[31m\r"], 0, ["(a\\x1b[31m\\r line 1)"],
        num_lines=1, files={"a\x1b[31m\r": b"dog " * 1000}),
    Row("B28", ["translate", "-m", "nowhere", "a"], 4, ["no such folder (nowhere)", "with --model"]),
    Row("B28", ["translate", "-m", ".", "a"], 4, ["no manifest.json"]),
    Row("B28", ["translate", "-m", "my.yaml", "a"], 4, ["not a folder (my.yaml)", "with --model"]),
    Row("B28", ["translate", "-m", "damaged", "a"],
        4, ["model.safetensors: wrong checksum (damaged)", "Copy or train"]),
    Row("B28", ["translate", "-m", "x" * 300, "a"], 4, ["model", "xxx)"]),
    Row("B28", ["translate", "a"], 4, ["no finished model (runs)", "mtx train"]),
    Row("B29", ["translate", "--beam", "0", "a"], 2, ["--beam", "See mtx translate --help"]),
    Row("B29", ["translate", "--beam", "100000", "a"], 2, ["--beam", "1000"]),
    Row("B29", [*TRANSLATE, "--beam", "1000", "a"], 0, ["beam lowered to the vocabulary"], num_lines=1),
    Row("B29", ["translate", "--n-best", "1000000", "--format", "jsonl", "a"], 2, ["--n-best", "1000"]),
    Row("B29", ["translate", "--length-penalty", "nan", "a"], 2, ["--length-penalty"]),
    Row("B29", ["translate", "--batch-tokens", "9" * 30, "a"], 2, ["--batch-tokens"]),
    Row("B29", [*EVALUATE, "--ref", "dev.de", "--min", "bleu=nan"], 2, ["invalid --min bleu=nan", "Write bleu=30"]),
    Row("B30", [*TRANSLATE, "one"], num_lines=1, stdin=b"two\nthree\n"),
    Row("B30", [*TRANSLATE[:3], "--beam=2", "- Hi."], num_lines=1),
    Row("B30", [*TRANSLATE, "--", "-x", "- y"], num_lines=2),
    Row("B30", [*TRANSLATE, "-x"], 2, ["-x", "See mtx translate --help"]),
    Row("B30", [*TRANSLATE, "--input", "dev.en", "a"], 2, ["both sentences and --input", "Give one"]),
    Row("B31", [*TRANSLATE, "--input", "dev.en", "-o", "./dev.en"],
        2, ["the output is the input dev.en (dev.en)", "another output file"]),
    Row("B31", [*TRANSLATE, "--input", "dev.en", "-o", "model/model.safetensors"],
        2, ["would be written into a model folder (model/model.safetensors)", "another output file"]),
    Row("B31", [*TRANSLATE, "a", "-o", "model/config.json"],
        2, ["would be written into a model folder (model/config.json)", "another output file"]),
    Row("B31", ["tokenizer", "train", "train.en", "train.de", "-o", "train.de"],
        2, ["the output is the input train.de"]),
    Row("B31", [*EVALUATE, "--ref", "dev.en", "--save-hyp", "dev.en"], 2, ["the output is the input dev.en"]),
    Row("B31", [*EVALUATE, "--ref", "dev.en", "--save-hyp", "dev.de"], 2, ["the output is the input dev.de"]),
    # --- evaluate ---
    Row("B40", [*EVALUATE, "--ref", "train.de"], 3, ["dev.de has 1 lines, train.de 8", "Give one reference"]),
    Row("B41", ["evaluate", "--hyp", "a", "--ref", "a"], 3, ["no lines", "at least one line"], files={"a": b""}),
    Row("B42", ["evaluate", "--hyp", "a", "--ref", "train.de"], num_lines=3, files={"a": text("", " ", *DE[2:])}),
    Row("B43", [*EVALUATE, "--ref", "dev.en", "--ref", "dev.de"], num_lines=3),
    Row("B43", [*EVALUATE, "--ref", "dev.de", "--ref", "train.de"], 3, ["dev.de has 1 lines, train.de 8"]),
    Row("B44", ["evaluate", "--hyp", "a", "--ref", "a"], 0, ["most hypotheses look tokenized", "most references look"],
        num_lines=3, files={"a": text("Der Hund , der bellt .", "Ein Vogel .", "Ja")}),
    Row("B45", ["evaluate", "--hyp", "a", "--ref", "b", "--min", "bleu=100"], num_lines=3,
        files={"a": "\ufeffa\u2028b c d e\r\n".encode(), "b": "a\u2028b c d e".encode()}),
    # --- tokenizer ---
    Row("B50", [*VOCABULARY], 3, ["no text to train a vocabulary on", "Check the training files"]),
    Row("B50", [*VOCABULARY, "--vocab-size", "20"], 3, ["smaller than the alphabet", "at least "], stdin=text(*EN)),
    Row("B50", [*VOCABULARY, "--vocab-size", "7"], 2, ["--vocab-size"]),
    Row("B50", [*VOCABULARY, "--vocab-size", "1000001"], 2, ["--vocab-size"]),
    Row("B50", [*VOCABULARY, "--vocab-size", "9000"], 0, ["vocabulary lowered from 9000 to"], stdin=text(*EN),
        writes=["new.model"]),
    Row("B51", [*VOCABULARY, "--vocab-size", "300"], 0, ["without 1 lines of more than 16,384 bytes"],
        stdin=text(*EN, "a" * 20_000), writes=["new.model"]),
    Row("B52", [*VOCABULARY, "--vocab-size", "300"], 0, stdin=text(*EN, "a\0b \u2581 \u2585 </s> <s> <unk> <pad>"),
        writes=["new.model"]),
    Row("B53", ["tokenizer", "encode", "-m", "spm.model"], out=b"", stdin=b""),
    Row("B54", ["tokenizer", "decode", "-m", "spm.model", "--ids"], 3, ["not token ids", "(stdin line 2)"], num_lines=1,
        stdin=b"4\nx\n"),
    Row("B55", ["tokenizer", "encode", "-m", "my.yaml"], 4, ["my.yaml is not a SentencePiece model", "train a new one"],
        stdin=b"a"),
    Row("B55", ["tokenizer", "encode", "-m", "cut.model"], 4, ["cut.model is not a SentencePiece model"], stdin=b"a"),
    Row("B55", ["tokenizer", "encode", "-m", "nowhere"], 4, ["no tokenizer at nowhere", "Give a model folder"],
        stdin=b"a"),
]  # fmt: skip
"""All cases. Properties of tokenizers are in tests/text."""
