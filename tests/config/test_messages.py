import pytest

DATA = "data: {train: [{demo: train}]}\n"

# Text on line 2, below valid data, and a part of its only error.
WRONG = [
    ("train: {max_stpes: 3}", "unknown key train.max_stpes (my.yaml line 2). Did you mean max_steps? See mtx"),
    ("trian: {}", "unknown key trian (my.yaml line 2). Did you mean train? See mtx config show."),
    ("lr: 1", "unknown key lr (my.yaml line 2). Did you mean train.lr?"),
    ("decode: {joint: true}", "unknown key decode.joint (my.yaml line 2). Did you mean tokenizer.joint?"),
    ("decode: {zzz: 1}", "unknown key decode.zzz (my.yaml line 2). See mtx config show --doc decode."),
    ("train:\n  lr: 1\n  lr: 2", "train.lr is given twice, first at my.yaml line 3 (my.yaml line 4)"),
    ("model: {dropout: 1.5}", "model.dropout must be at least 0 and below 1, got 1.5 (my.yaml line 2)"),
    ("model: {d_model: 1}", "model.d_model must be at least 2 and at most 16384, got 1"),
    ("model: {d_model: 512, num_heads: 7}", "model.d_model (512) must be a multiple of model.num_heads (7)"),
    ("model: {d_model: '512'}", "model.d_model must be a whole number, got '512' (my.yaml line 2). Remove the quotes."),
    ("model: {norm: pst}", "model.norm must be pre or post, got 'pst' (my.yaml line 2). Did you mean post?"),
    ("model: {preset: hugeous}", "model.preset must be tiny, small, base or big, got 'hugeous' (my.yaml line 2). See"),
    ("model: 5", "model must be a mapping of keys, got 5"),
    ("model:", "model must be a mapping of keys, got nothing (my.yaml line 2). Give it a value, or remove the key."),
    ("train: {lr: fast}", "train.lr must be a number, got 'fast' (my.yaml line 2). See mtx config show --doc"),
    ("train: {lr: nan}", "train.lr must be a number, got 'nan'"),
    ("train: {lr: .nan}", "train.lr must be a number, got '.nan' (my.yaml line 2). See mtx"),
    ("train: {clip_norm: 1e999}", "train.clip_norm must be a number, got '1e999' (my.yaml line 2). See mtx"),
    ("train: {lr: " + "9" * 400 + "}", "train.lr must be a number, got '999"),
    ("train: {seed: true}", "train.seed must be a whole number, got true"),
    ("train: {max_steps: 1e4}", "train.max_steps must be a whole number, got 10000.0 (my.yaml line 2). Write 10000."),
    ("train: {seed: " + "9" * 5000 + "}", "train.seed must be a whole number, got '9999"),
    ("train: {device: 0}", "train.device must be text, got 0 (my.yaml line 2). Put it in quotes."),
    ("tokenizer: {joint: no}", "tokenizer.joint must be true or false, got 'no' (my.yaml line 2)"),
    ('train: {device: "a\\0b"}', "invalid YAML: NUL and lone surrogates are not allowed (my.yaml line 2 column 17)"),
    ('train: {device: "\\ud800"}', "invalid YAML: NUL and lone surrogates are not allowed (my.yaml line 2 column 17)"),
    ("train: {device: !!python/name:os.system x}", "tags (!) are not supported: tag:yaml.org,2002:python/name:os.s"),
    ("train: {device: &a cpu}", "anchors (&) and aliases (*) are not supported: a (my.yaml line 2 column 17)"),
    ("train: {<<: {lr: 1}}", "unknown key train.<<"),
    ("train: {? [lr] : 1}", "a key of train is not a word"),
    ("train: {device: *cpu}", "anchors (&) and aliases (*) are not supported: cpu (my.yaml line 2 column 17). Correct"),
    ("tokenizer: {file: a.model, joint: false}", "tokenizer.joint must be true with tokenizer.file"),
    ("tokenizer: {normalization: lossless, byte_fallback: false}", "tokenizer.byte_fallback must be true if"),
    ('"\\e[2J\\n": "\\e[2J"', r"unknown key \x1b[2J\n (my.yaml line 2)"),
    ("train: {lr: [", "invalid YAML: "),
    ("train:\n\tlr: 1", "(my.yaml line 3 column 1). Indent with spaces."),
    ("a: b: c", "mapping values are not allowed here (my.yaml line 2 column 5)"),
    ("train: {log_to: tensorboard}", "a list of names, got 'tensorboard' (my.yaml line 2). Write [tensorboard]."),
    ("train: {log_to: [tensorbord]}", "train.log_to[0] must be a list of names, got 'tensorbord' (my.yaml line 2)."),
    ("---\na: b", "found another document"),
    ("a: " + "[" * 30 + "]" * 30, "nested more than 20 levels deep (my.yaml line 2"),
    ("a: [" + "x, " * 9000 + "]", "more than 5000 keys and values"),
    ("a: \x07", "invalid YAML: the character U+0007 is not allowed (my.yaml line 2)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_says_what_is_wrong_and_where(errors_of, text, message):
    (line,) = errors_of(DATA + text)
    assert message in line


WRONG_DATA = [
    ("{}", ["data.train is missing (my.yaml line 1). Add data: {train: [{src: FILE, tgt: FILE}]}"]),
    ("{train: []}", ["data.train is empty (my.yaml line 1). Add {src: FILE, tgt: FILE}, {tsv: FILE}"]),
    ("{train: {demo: train}}", ["data.train must be a list of sources, got a mapping (my.yaml line 1). Put it into"]),
    ("{train: [5]}", ["data.train[0] must be a source, got 5 (my.yaml line 1). Write {src: FILE, tgt: FILE}"]),
    ("{train: [{}]}", ["data.train[0] is not a source (my.yaml line 1). Write {src: FILE, tgt: FILE}"]),
    ("{train: [{src: a}]}", ["data.train[0].tgt is missing (my.yaml line 1). Add it. See mtx config show --doc"]),
    ("{train: [{jsnl: a}]}", ["data.train[0] is not a source", "jsnl (my.yaml line 1). Did you mean jsonl?"]),
    ("{train: [{tsv: a, tgt: 0}]}", ["at least 1 and at most 10000, got 0 (my.yaml line 1). See mtx config show"]),
    ("{train: [{src: 5, tgt: true}]}", ["data.train[0].src must be a path, got 5", "tgt must be a path, got true"]),
    ("{train: [\n{demo: yes},\n{demo: tain}]}", ["(my.yaml line 2)", "(my.yaml line 3). Did you mean train?"]),
    ("{train: [{demo: 5}]}", ["data.train[0].demo must be train, dev, test or pronouns, got 5"]),
    ("{train: [{dataset: ''}], dev: 5}", ["data.train[0].dataset is empty", "data.dev must be a source or a list of"]),
    ("{train: [{demo: train}], dev: {tsv: 5}}", ["data.dev.tsv must be a path, got 5"]),
    ("{train: [{demo: train}], dev: [{demo: dev}, {tvs: x}]}", ["data.dev[1] is not a", "unknown key data.dev[1].tvs"]),
    ("{train: [{demo: train}], test: [5]}", ["data.test[0] must be a source, got 5"]),
    ("{train: [{demo: train, tgt_lang: d e}]}", ["data.train[0].tgt_lang must be a language code, got 'd e'"]),
    ("{train: [{demo: train, tag: 2 de}]}", ["data.train[0].tag must be a tag, got '2 de'"]),
    ("{train: [{demo: train, weight: 0}]}", ["data.train[0].weight must be above 0 and at most 1000, got 0"]),
    ("{train: [{demo: train}], src_lang: e e}", ["data.src_lang must be a language code, got 'e e'"]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "messages"), WRONG_DATA)
def test_says_what_is_wrong_with_the_sources(errors_of, data, messages):
    lines = errors_of(f"data: {data}")
    assert len(lines) == len(messages)
    assert all(message in line for message, line in zip(messages, lines, strict=True))


def test_reports_all_problems_at_once_in_the_order_of_the_text(errors_of):
    lines = errors_of("train:\n  max_stpes: 3\n  device: 0\n  lr: 1\n  lr: x\n", "decode.beam_size=0", "nonsense")
    places = [
        "data is missing (my.yaml)",
        "(my.yaml line 2)",
        "(my.yaml line 3)",
        "(my.yaml line 5)",
        "(my.yaml line 5)",
    ]
    assert [place in line for place, line in zip(places, lines, strict=False)] == [True] * 5
    assert all("(command line)" in line for line in lines[5:])
    assert len(lines) == 7


def test_counts_the_problems_it_does_not_print(errors_of):
    lines = errors_of(DATA + "".join(f"x{number}: 1\n" for number in range(50)))
    assert len(lines) == 21
    assert lines[-1].startswith("30 more problems from here on (my.yaml line 22).")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("nonsense", "nonsense is not an override (command line). Write KEY=VALUE, such as train.lr=3e-4."),
        ("=3", "=3 is not an override"),
        ("train..lr=3", "train..lr=3 is not an override"),
        ("train.max_stpes=3", "unknown key train.max_stpes (command line). Did you mean max_steps?"),
        ("foo.bar=3", "unknown key foo (command line)"),
        ("train.lr=fast", "train.lr must be a number, got 'fast' (command line)"),
        ("train.lr.x=3", "train.lr must be a number, got a mapping (command line)"),
        (
            "data.train.src=x",
            "cannot set data.train.src, because data.train is a list (command line). Set the whole of data.train.",
        ),
        ("train.lr=[", "(command line, train.lr, column 2 of the value)"),
        ("train={lr: 1, lr: 2}", "train.lr is given twice, first at command line (command line)"),
    ],
)
def test_says_what_is_wrong_with_an_override(errors_of, override, message):
    (line,) = errors_of(DATA, override)
    assert message in line


def test_an_override_replaces_the_whole_value(errors_of):
    (line,) = errors_of("data: {train: [{src: a, tgt: b}]}", "data.train=[{src: a}]")
    assert "data.train[0].tgt is missing (command line)" in line
