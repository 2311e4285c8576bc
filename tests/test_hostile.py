"""A stranger's model folder, config or text: no code of theirs runs, nothing outside is read, nothing is written.

All cases run in one process, `hostile_child.py`, which lists every offence and lives within limits of memory and time.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from mtx.checkpoint.model_folder import GenerationDefaults, TrainedModel, save_model
from mtx.checkpoint.tensors import weights_of
from mtx.config.decoding import DecodeSettings
from mtx.config.settings import ModelSettings
from mtx.files.sealed import _manifest_digest
from mtx.model import build_transformer
from mtx.text.tokenizer import Tokenizer

pytestmark = pytest.mark.process

SIZES = ModelSettings(d_model=8, num_heads=2, d_ff=12, encoder_layers=1, decoder_layers=1)
GOOD, BAD = (0,), (4,)


@dataclass(frozen=True, slots=True)
class Case:
    """Hostile model folder, and the required answer of `mtx translate --model`."""

    name: str
    build: Callable[[Path], Any]
    """Changes a copy of a good model folder."""
    codes: tuple[int, ...] = BAD
    words: str = ""


def write(name: str, content: bytes | str) -> Callable[[Path], Any]:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def replace(name: str, make: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a builder that replaces a file by what `make` makes."""

    def build(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return build


def sealed(change: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a builder that changes the folder, then writes a manifest that agrees."""

    def build(folder: Path) -> None:
        change(folder)
        names = [path.name for path in folder.iterdir() if path.name not in ("manifest.json", "README.md")]
        data = {name: (folder / name).read_bytes() for name in names}
        files = {name: {"size": len(text), "sha256": hashlib.sha256(text).hexdigest()} for name, text in data.items()}
        manifest(files=files)(folder)

    return build


def claimed(name: str, key: str, value: Any) -> Callable[[Path], Any]:
    """Return a builder that changes the value of a key in a JSON file, then seals the folder."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        *above, last = key.split(".")
        (content[above[0]] if above else content)[last] = value
        (folder / name).write_text(json.dumps(content))

    return sealed(change)


def manifest(**changes: Any) -> Callable[[Path], Any]:
    def build(folder: Path) -> None:
        content = json.loads((folder / "manifest.json").read_text()) | changes
        content["sha256"] = _manifest_digest(content)
        (folder / "manifest.json").write_text(json.dumps(content))

    return build


def unlisted(name: str, make: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a builder that replaces a file to load and removes it from the manifest."""

    def build(folder: Path) -> None:
        content = json.loads((folder / "manifest.json").read_text())
        del content["files"][name]
        manifest(files=content["files"])(folder)
        replace(name, make)(folder)

    return build


def header(text: str, data: bytes = bytes(24)) -> Callable[[Path], Any]:
    return sealed(write("model.safetensors", len(text).to_bytes(8, "little") + text.encode() + data))


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], Any]:
    from safetensors.torch import load_file, save_file

    def build(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return sealed(build)


def tokenizer_model(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return sealed(lambda folder: (folder / "spm.model").write_bytes(change((folder / "spm.model").read_bytes())))


def flipped(place: int, model: bytes) -> bytes:
    return model[:place] + bytes([model[place] ^ 1 << place % 8]) + model[place + 1 :]


def nan_piece(text: str) -> bytes:
    return bytes([10, len(text) + 7, 10, len(text)]) + text.encode() + b"\x15" + struct.pack("<f", float("nan"))


LONG_PIECE = b"\x0a\x84\x80\x40\x0a\x80\x80\x40" + b"a" * (1 << 20)
CODE = "open({canary!r}, 'w').close()\nimport os, socket\nos.system('touch ' + {canary!r})\n"
PICKLE = b"cposix\nsystem\n(S'touch {canary}'\ntR."
MANY = {f"encoder.{number}.weight": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(60_000)}
TENSOR = '{"w":{"dtype":"F32","shape":%s,"data_offsets":[0,24]}}'
FILES = ("model.safetensors", "config.json", "generation_config.json", "spm.model")


def extras(folder: Path) -> None:
    """Add code and pickles in every form that some library might run."""
    canary = str(folder.parent / "canary")
    for name in ("__init__.py", "sitecustomize.py", "conftest.py", "modeling.py", "torch.py", "mtx.py", "json.py"):
        (folder / name).write_text(CODE.format(canary=canary))
    for name in ("pytorch_model.bin", "model.pt", "optimizer.pkl", "model.ckpt", "training_args.bin", "data.joblib"):
        (folder / name).write_bytes(PICKLE.replace(b"{canary}", canary.encode()))
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    (folder / "__pycache__").mkdir()


CASES = [
    Case("good", lambda folder: None, GOOD),
    Case("extras", extras, GOOD),
    Case("compressed", sealed(replace("model.safetensors", lambda path: path.write_bytes(b"\x1f\x8b\x08" * 50)))),
    # The manifest.
    Case("manifest is a pipe", replace("manifest.json", os.mkfifo)),
    Case("manifest is endless", replace("manifest.json", lambda path: path.symlink_to("/dev/zero"))),
    Case("manifest is a secret", replace("manifest.json", lambda path: path.symlink_to("/etc/passwd"))),
    Case("manifest is a folder", replace("manifest.json", os.mkdir)),
    Case("manifest is deep", write("manifest.json", "[" * 500_000)),
    Case("manifest is large", write("manifest.json", " " * (64 << 20))),
    *[
        Case(f"manifest names {name[:9]}", manifest(files={name: {"size": 0, "sha256": ""}}), words="unreadable")
        for name in ("../config.yaml", "/etc/passwd", "..", "n" * 300, "a/b", "")
    ],
    Case("size 1e999", manifest(files={"config.json": {"size": float("inf"), "sha256": ""}}), words="unreadable"),
    Case("about is a list", manifest(about=["x"]), words="unreadable"),
    Case("unknown key", manifest(auto_map="code.Model"), words="unreadable"),
    # Files that are loaded.
    *[Case(f"{name} is a pipe", replace(name, os.mkfifo)) for name in FILES],
    *[Case(f"{name} is a secret", replace(name, lambda path: path.symlink_to("/etc/passwd"))) for name in FILES],
    *[Case(f"unlisted {name} is a pipe", unlisted(name, os.mkfifo), words="not in manifest") for name in FILES],
    *[Case(f"unlisted {name} is endless", unlisted(name, lambda p: p.symlink_to("/dev/zero"))) for name in FILES],
    Case("config is large", sealed(write("config.json", "[" * (16 << 20)))),
    Case("config is deep", sealed(write("config.json", '{"model":' * 100_000))),
    *[
        Case(f"{key} {value}", claimed("config.json", key, value))
        for key, value in [
            ("model.d_ff", 10**12), ("model.d_ff", 262_144), ("model.d_model", 16384), ("model.encoder_layers", 200),
            ("model.num_heads", 10**9), ("pad_id", 10**9), ("pad_id", -(10**9)), ("is_joint", False), ("is_joint", 1),
            ("src_vocab_size", 10**12), ("tgt_vocab_size", -1), ("auto_map", "code.Model"),
            ("model.class", "os.system"), ("src_lang", "../../x"), ("model.dropout", float("inf")),
        ]
    ],
    *[
        Case(f"{key} {value}", claimed("generation_config.json", key, value))
        for key, value in [
            ("decode.beam_size", 10**6), ("decode.max_length_factor", 1e300), ("decode.max_length_extra", 10**9),
            ("max_source_tokens", 10**12), ("max_source_tokens", -1), ("class", "os.system"),
        ]
    ],
    # Weights.
    Case("huge header", sealed(write("model.safetensors", b"\xff" * 7 + b"\x00" + b"{}" * 100))),
    Case("many tensors", header(json.dumps(MANY), b"")),
    Case("deep header", header('{"w":' + "[" * 1_000_000)),
    Case("overlap", header('{"v":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},' + TENSOR[1:] % "[6]")),
    Case("hole", header('{"w":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}')),
    Case("10^12 elements", header(TENSOR % "[1000000000000]")),
    Case("elements beyond counting", header(TENSOR % "[4294967296,4294967296,4294967296]")),
    Case("name twice", header(TENSOR[:-1] % "[6]" + "," + TENSOR[1:] % "[6]")),
    Case("NaN", weights(lambda tensors: tensors["encoder_norm.bias"].fill_(float("nan"))), words="not finite"),
    Case("other type", weights(lambda tensors: tensors.update({"encoder_norm.bias": torch.ones(8).to(torch.int8)}))),
    Case("other shape", weights(lambda tensors: tensors.update({"encoder_norm.bias": torch.ones(9)}))),
    Case("one more", weights(lambda tensors: tensors.update(x=torch.ones(9)))),
    Case("large weights", weights(lambda tensors: [tensor.fill_(3e38) for tensor in tensors.values()]), (0, 4)),
    # Tokenizers.
    Case("long piece", tokenizer_model(lambda model: LONG_PIECE + model), words="piece 1 has"),
    Case("NaN score", tokenizer_model(lambda model: model + nan_piece("x")), words="usable score"),
    Case("large tokenizer", tokenizer_model(lambda model: model + bytes(17 << 20))),
    Case("cut tokenizer", tokenizer_model(lambda model: model[: len(model) // 2])),
    Case("no tokenizer", tokenizer_model(lambda model: b"")),
    *[
        Case(f"flipped tokenizer {place}", tokenizer_model(partial(flipped, place)), (0, 4))
        for place in range(0, 400, 40)
    ],
]  # fmt: skip

DEEP = "a: " + "[" * 5000
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
DATA = "data: {train: [{src: %s, tgt: %s}]}\n"
CONFIGS: dict[str, tuple[bytes, int]] = {
    "tag": (b"data: !!python/object/apply:os.system ['touch canary']", 2),
    "tags": (b"!!python/object/new:os.system [touch canary]\n" * 1000, 2),
    "bomb": (BOMB.encode(), 2),
    "merge": (b"data: &d {a: 1}\nmodel: {<<: *d}", 2),
    "deep": (DEEP.encode(), 2),
    "deep mappings": (b"".join(b" " * n + b"a:\n" for n in range(1000)), 2),
    "wide": (b"a: [" + b"x," * 400_000 + b"]", 2),
    "many keys": (b"".join(b"k%d: 1\n" % n for n in range(90_000)), 2),
    "long line": (b"a: " + b"x" * 990_000, 2),
    "quotes": (b"a: " + b"'" * 990_001, 2),
    "question marks": (b"? " * 490_000, 2),
    "large": (b"#" * 2_000_000, 2),
    "binary": (bytes(range(256)) * 100, 2),
    "output": ((DATA % ("a", "b") + "output: ../..").encode(), 2),
    "home": ((DATA % ("$HOME/a", "$PWD/b")).encode(), 3),
    "address": ((DATA % ("https://example.org/a", "hf://datasets/a/b")).encode(), 3),
    "data set nowhere": (b"data: {train: [{dataset: ../no/where}]}", 3),
}
TEXTS = [
    "", " " * 5000, "a" * 20_000, "(" * 5000, ".)" * 3000, "dog " * 3000, "</s> <s> <pad> <unk> <0x0A>",
    "\x1b[2J\x07", "a\u2028b\u2029c\x85d\r", "\u202egnp", "\u2581\u2581", "e\u0301" * 500,
    "👩\u200d👧", "日本語", "\U0010ffff",
]  # fmt: skip


@dataclass(slots=True)
class Answers:
    """Answers of the child by case, the bytes it took, its exit code and the canaries it left."""

    by_name: dict[str, dict[str, Any]] = field(default_factory=dict)
    memory: int = 0
    end: int | None = None
    canaries: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Answers:
    root = tmp_path_factory.mktemp("hostile")
    torch.manual_seed(5)
    sizes = {"src_vocab_size": tokenizer.src_vocab_size, "tgt_vocab_size": tokenizer.tgt_vocab_size}
    model = build_transformer(SIZES, **sizes, pad_id=tokenizer.pad_id, is_joint=True).eval()
    generation = GenerationDefaults(decode=DecodeSettings(beam_size=1, max_length_extra=3), max_source_tokens=17)
    trained = TrainedModel(model, tokenizer, "en", "de", generation)
    jobs = []

    def add(name: str, folder: Path, *arguments: str, counts: bool = False) -> None:
        jobs.append({"name": name, "folder": str(folder), "arguments": [*arguments], "counts": counts})

    good = root / "good"
    save_model(good, trained, SIZES, weights_of(model), {}, "A card.")
    for number, case in enumerate(CASES):
        folder = root / f"{number}" / "model"
        shutil.copytree(good, folder)
        case.build(folder)
        add(case.name, folder, "translate", "--model", str(folder), "The dog sees a cat.")
    for name, (content, _) in CONFIGS.items():
        path = root / name / "config.yaml"
        path.parent.mkdir()
        path.write_bytes(content)
        run_dir = str(path.parent / "run")
        add(f"config {name}", path.parent, "train", "--config", str(path), "--run-dir", run_dir, counts=True)
    for number, text in enumerate(TEXTS):
        add(f"text {number}", good, "translate", "--model", str(good), "--", text)
    warm_up = [
        jobs[0]["arguments"],
        jobs[-1]["arguments"],
        next(job for job in jobs if "auto_map" in job["name"])["arguments"],
    ]
    warm_up += [
        job["arguments"]
        for job in jobs
        if job["name"] in ("config home", "config data set nowhere", "config output", "config deep", "NaN")
    ]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("hostile_child.py")],
        input=json.dumps({"warm_up": warm_up, "cases": jobs}), stdout=subprocess.PIPE, text=True, check=False, cwd=root,
    )  # fmt: skip
    answers = Answers(end=done.returncode)
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        answers.by_name[answer.pop("name")] = answer
    answers.memory = answers.by_name.pop("memory", {"taken": 1 << 60})["taken"]
    answers.canaries = [str(path) for path in root.rglob("canary*")] + [str(path) for path in root.rglob("run")]
    return answers


def errors(answer: dict[str, Any]) -> list[str]:
    """Lines of stderr without warnings: a model with random weights repeats itself."""
    return [line for line in answer["err"].splitlines() if not line.startswith("mtx: warning: lines searched again")]


def test_nothing_hangs_dies_or_takes_much_memory(answers: Answers) -> None:
    last = list(answers.by_name)[-1]
    assert answers.end == 0, f"after {last!r}"
    assert len(answers.by_name) == len(CASES) + len(CONFIGS) + len(TEXTS)
    assert answers.memory < 200 << 20


def test_nothing_runs_connects_imports_or_leaves_its_folder(answers: Answers) -> None:
    offences = {name: answer["offences"] for name, answer in answers.by_name.items() if answer["offences"]}
    assert offences == {}
    assert answers.canaries == []


def test_a_strangers_folder_loads_or_is_refused_in_one_line(answers: Answers) -> None:
    for case in CASES:
        answer = answers.by_name[case.name]
        assert answer["code"] in case.codes, (case.name, answer)
        assert case.words in answer["err"], (case.name, answer)
        assert len(errors(answer)) == (answer["code"] != 0), (case.name, answer)
        assert len(answer["err"]) < 1000, (case.name, answer)


def test_a_strangers_config_is_refused_after_little_work(answers: Answers) -> None:
    for name, (_, code) in CONFIGS.items():
        answer = answers.by_name[f"config {name}"]
        assert answer["code"] == code, (name, answer)
        assert "Traceback" not in answer["err"], (name, answer)
        assert answer["calls"] < 5_000_000, (name, answer["calls"])


def test_a_strangers_text_gives_one_clean_line(answers: Answers) -> None:
    for number in range(len(TEXTS)):
        answer = answers.by_name[f"text {number}"]
        assert (answer["code"], errors(answer)) == (0, []), (number, answer)
        line = answer["out"].removesuffix("\n")
        assert not any(char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029" for char in line), (
            number,
            line,
        )
