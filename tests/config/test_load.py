import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import to_jsonable_python
from ruamel.yaml import YAML

from mtx.config.decoding import DecodeSettings
from mtx.config.document import dump_line, parse
from mtx.config.load import differences, dump_config, load_config
from mtx.config.messages import Location
from mtx.config.settings import MAX_VOCAB_SIZE, Config, DataSettings, ModelSettings, TokenizerSettings, TrainSettings
from mtx.config.sources import Demo, HubDataset, Jsonl, Tsv, TwoFiles
from mtx.errors import UserError

DATA = "data: {train: [{demo: train}]}\n"
CONFIGS = Path(__file__).parents[2] / "configs"


def bomb() -> str:
    return "a0: &a0 [x, x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(20))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the config is empty (my.yaml)"),
        (b"# nothing\n", "the config is empty"),
        (b"- 1\n", "the config is a list, not a mapping"),
        (b"!!python/object:os.x {}", "tags (!) are not supported"),
        (b"a: 1\n" + bytes(range(256)), "the config is not UTF-8 text (my.yaml line 3)"),
        (b"\x00" * 100, "the character U+0000 is not allowed"),
        (b"#" * 300_001, "the config is larger than 300,000 bytes"),
        (bomb().encode(), "anchors (&) and aliases (*) are not supported"),
        # The largest config and the slowest text.
        (b"#" * 300_000, "the config is empty"),
        (b"#\n" * 150_000, "the config is empty"),
        (b"a: " + b"x " * 149_998, "unknown key a"),
        (b"[" * 300_000, "nested more than 20 levels deep"),
        (b"- " * 150_000, "nested more than 20 levels deep"),
        (b"-\n" * 150_000, "more than 5000 keys and values"),
        (b"data: {src_lang: " + b"a" * 299_000 + b"}", "data.src_lang must be a language code, got 'aaa"),
    ],
)
def test_refuses_what_is_not_a_config(errors_of, content, message):
    errors = errors_of(content)
    assert any(message in line for line in errors)
    assert all(len(line) < 300 for line in errors)


@pytest.mark.parametrize(("path", "reason"), [("nowhere.yaml", "no such file"), (".", "is a directory")])
def test_refuses_what_is_not_a_file(tmp_path, path, reason):
    with pytest.raises(UserError, match=f"cannot read the config: {reason}.*Give the path of a YAML file"):
        load_config(tmp_path / path, [])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1_000", 1000),
        ("010", 10),
        ("1e9", 1e9),
        (".5", 0.5),
        ("2.", 2.0),
        ("+1.5E+2", 150.0),
        ("7", 7),
        ("0x10", 16),
        ("0o17", 15),
    ],
)
def test_reads_the_numbers_of_yaml_1_2(load, text, value):
    assert load(DATA, f"train.clip_norm={text}").train.clip_norm == value


@pytest.mark.parametrize(
    "text", ["12:30", "2024-01-01", "=", "<<", "no", "Y", "'no'", '"010"', "~/model", "$HOME", "é"]
)
def test_reads_other_scalars_as_text(load, text):
    assert load(DATA + f"train: {{device: {text}}}").train.device == text.strip("'\"")


def test_reads_a_file_that_begins_with_a_byte_order_mark(load):
    assert load("\ufeff" + DATA) == load(DATA)


def test_overrides_win_over_the_file_and_later_over_earlier_ones(load):
    config = load(DATA + "train: {lr: 1, seed: 5}", "train.lr=2", "train.lr=3e-4", "data.dev.demo=dev")
    assert (config.train.lr, config.train.seed, config.data.dev) == (3e-4, 5, (Demo(demo="dev"),))


@pytest.mark.parametrize(
    ("model", "overrides", "width_and_heads"),
    [
        ("{preset: tiny}", [], (128, 4)),
        ("{preset: tiny, d_model: 64}", [], (64, 4)),
        ("{preset: tiny}", ["model.d_model=512"], (512, 4)),
        ("{d_model: 64, num_heads: 2}", ["model.preset=base"], (512, 8)),
        ("{d_model: 64}", ["model.num_heads=16", "model.preset=base"], (512, 16)),
        ("{d_model: 64, num_heads: 2}", ["model.preset=null"], (64, 2)),
    ],
)
def test_a_size_wins_over_a_preset_except_a_preset_on_the_command_line(load, model, overrides, width_and_heads):
    config = load(DATA + f"model: {model}", *overrides)
    assert (config.model.d_model, config.model.num_heads) == width_and_heads


def test_paths_are_relative_to_the_file_in_overrides_to_the_current_folder_and_a_tilde_is_home(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "configs" / "corpus").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "configs" / "my.yaml").write_text(
        "data:\n"
        "  train: [{src: ../a.en, tgt: ~/a.de}, {tsv: /data/b.tsv}, {dataset: corpus}, {dataset: owner/name}]\n"
        "  dev: {jsonl: $HOME/c}\n"
        "  test: {src: old.en, tgt: old.de}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    overrides = ["tokenizer.file=~/spm.model", "data.test={src: d.en, tgt: ../d.de}"]
    config = load_config(Path("../configs/my.yaml"), overrides)
    configs, here, home = tmp_path / "configs", tmp_path / "here", tmp_path / "home"
    assert config.data.train == (
        TwoFiles(src=tmp_path / "a.en", tgt=home / "a.de"),
        Tsv(tsv=Path("/data/b.tsv")),
        HubDataset(dataset=str(configs / "corpus")),
        HubDataset(dataset="owner/name"),
    )
    assert config.data.dev == (Jsonl(jsonl=configs / "$HOME" / "c"),)
    assert config.data.test == (TwoFiles(src=here / "d.en", tgt=tmp_path / "d.de"),)
    assert config.tokenizer.file == home / "spm.model"


@pytest.mark.parametrize(
    "path", [None, *sorted(CONFIGS.rglob("*.yaml"))], ids=lambda path: path.stem if path else "demo"
)
def test_every_config_that_is_shipped_loads(path):
    assert isinstance(load_config(path, []), Config)


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = texts.filter(lambda text: text not in ("", ".", "..") and "/" not in text)
paths = st.lists(names, min_size=1, max_size=3).map(lambda parts: Path("/", *parts))
words = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,31}", fullmatch=True) | st.sampled_from(
    ["no", "y", "null", "true", "e5"]
)
sources = st.one_of(
    st.builds(TwoFiles, src=paths, tgt=paths),
    st.builds(Tsv, tsv=paths, src=st.integers(1, 9), tgt=st.integers(1, 9)),
    st.builds(Jsonl, jsonl=paths, src=st.none() | texts, tgt=st.none() | texts),
    st.builds(HubDataset, dataset=st.tuples(words, words).map("/".join), name=st.none() | texts, split=texts),
    st.builds(Demo, demo=st.sampled_from(["train", "dev", "test", "pronouns"])),
)
rates = st.floats(1e-20, 1)
configs = st.builds(
    Config,
    data=st.builds(
        DataSettings,
        src_lang=words,
        tgt_lang=words,
        train=st.lists(sources, min_size=1, max_size=3).map(tuple),
        dev=st.lists(sources, max_size=2).map(tuple),
    ),
    tokenizer=st.builds(TokenizerSettings, vocab_size=st.integers(8, MAX_VOCAB_SIZE), file=st.none() | paths),
    model=st.builds(
        ModelSettings, preset=st.none() | st.sampled_from(["tiny", "big"]), encoder_layers=st.integers(1, 9)
    ),
    train=st.builds(TrainSettings, lr=rates, adam_eps=rates, device=texts, max_steps=st.integers(1, 10**9)),
    decode=st.builds(DecodeSettings, length_penalty=st.floats(0, 10)),
)


@pytest.mark.slow
@given(config=configs)
@example(config=Config(data=DataSettings(train=(Demo(demo="train"),)), train=TrainSettings(device="a\x85b")))
def test_a_dumped_config_reads_back_to_itself(config, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    path.write_bytes(dump_config(config).encode())
    assert load_config(path, []) == config


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, min_size=1, max_size=3),
)


@given(value=plain_values)
@example(value={"demo": "dev"})
@example(value=[{"demo": "dev"}, "x " * 99])
def test_a_value_on_one_line_reads_back_to_itself(value: object) -> None:
    line = dump_line(value)
    assert "\n" not in line
    read = parse(f"key: {line}  # comment", Location("my.yaml", Path()))
    assert (read.values["key"], read.problems) == (to_jsonable_python(value, exclude_none=True), [])


def safe_dump(value: object) -> str:
    """Write any plain value, also one that is not valid in a config, as YAML."""
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(value, stream)
    return stream.getvalue()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.binary(max_size=9) | st.dates() | words
keys = (
    texts | st.integers() | st.booleans() | st.sampled_from(["train", "dev", "src", "tgt", "tsv", "demo", "lr", "norm"])
)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))
sections = st.sampled_from(["data", "tokenizer", "model", "train", "decode"])
dumped_trees = st.dictionaries(sections | keys, trees, max_size=5).map(safe_dump)
marked_text = st.text("{}[]:,-&*!|>?'\"%@#\n\t ab1.e<", max_size=40)


@given(text=dumped_trees | marked_text | texts, override=marked_text | texts)
def test_any_text_is_a_config_or_a_user_error(text, override, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode())
    for overrides in ([], [override], [f"data={override}"]):
        try:
            load_config(path, overrides)
            lines: tuple[str, ...] = ()
        except UserError as error:
            lines = error.lines
        assert all(line.isprintable() for line in lines)


def test_names_each_setting_that_differs(load):
    old = load(DATA + "model: {d_model: 256}")
    new = load("data: {train: [{demo: dev}], dev: {tsv: /a b}, src_lang: 'no'}", "model.d_model=512", "train.lr=3e-4")
    assert differences(old, old) == []
    assert list(map(str, differences(old, new))) == [
        "data.src_lang: en -> no",
        "data.train[0].demo: train -> dev",
        "data.dev: null -> {tsv: /a b, src: 1, tgt: 2, header: false, encoding: utf-8, weight: 1.0}",
        "model.d_model: 256 -> 512",
        "train.lr: 0.001 -> 0.0003",
    ]
    one = load("data: {train: [{demo: dev}], dev: {tsv: /a}, test: [{tsv: /a}, {demo: test}]}")
    other = load("data: {train: [{demo: dev}], dev: [{tsv: /b}], test: [{tsv: /a}, {demo: dev}]}")
    assert list(map(str, differences(one, other))) == ["data.dev.tsv: /a -> /b", "data.test[1].demo: test -> dev"]
    assert len(differences(one, old)) == len(differences(old, one)) == 3  # two test sets, and none
    alone = load("data: {train: [{demo: dev}], dev: {tsv: /a}, test: {tsv: /a}}")
    assert (
        [each.key for each in differences(one, alone)]
        == [each.key for each in differences(alone, one)]
        == [("data", "test")]
    )
    assert list(map(str, differences(old, load("data: {train: [{demo: dev}, {demo: test}]}")))) == [
        "data.train: [{demo: train, weight: 1.0}] -> [{demo: dev, weight: 1.0}, {demo: test, weight: 1.0}]"
    ]


@pytest.mark.process
def test_reading_a_config_imports_no_heavy_library():
    script = "import sys, mtx.config.load, mtx.config.explain; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "pydantic" in modules
    assert not {"torch", "datasets", "sentencepiece", "numpy"} & set(modules)


def test_other_training_data_drops_the_demos_dev_and_test_sets() -> None:
    train = "data.train=[{tsv: /a.tsv}]"
    data = load_config(None, [train]).data
    assert (data.dev, data.test) == ((), ())
    assert load_config(None, ["data.dev={tsv: /b.tsv}", train]).data.dev == (Tsv(tsv=Path("/b.tsv")),)
    assert load_config(None, [train, "data.test.demo=test"]).data.test == (Demo(demo="test"),)
    assert load_config(None, ["data={dev: {demo: test}}", train]).data.dev == (Demo(demo="test"),)
    whole = load_config(None, ["data={train: [{tsv: /a.tsv}], dev: {demo: dev}}"]).data
    assert (whole.dev, whole.test) == ((Demo(demo="dev"),), ())
    demo = load_config(None, ["train.lr=1"]).data
    assert (demo.dev, demo.test) == ((Demo(demo="dev"),), (Demo(demo="test"),))


@pytest.mark.parametrize("override", ["data=5", "data=null", "data.train=null"])
def test_replacing_the_demo_data_by_bad_data_is_an_error(override: str) -> None:
    with pytest.raises(UserError):
        load_config(None, [override])


def test_overriding_the_training_data_of_a_file_keeps_its_dev_set(load: Callable[..., Config]) -> None:
    data = load(DATA[:-2] + ", dev: {demo: dev}}", "data.train=[{tsv: /a.tsv}]").data
    assert data.dev == (Demo(demo="dev"),)
