import json

import pytest

from mtx.config.explain import ALL_KEYS, describe, json_schema
from mtx.config.load import load_config
from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError


def test_shows_every_setting_and_its_description_in_100_columns():
    text = describe(None)
    assert max(map(len, text.splitlines())) <= 100
    words = " ".join(text.split())
    assert len(ALL_KEYS) > 40
    for key, field in ALL_KEYS.items():
        assert field.description
        assert f" {key.split('.')[1]} " in words
    for section, field in Config.model_fields.items():
        assert f"{section}: {field.annotation.__doc__}" in text
        assert describe(section) in text


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("train.lr", ["train.lr: Peak learning rate.", "type: a number, above 0", "default: 0.001"]),
        ("train.max_steps", ["type: a whole number, at least 1", "default: 5000"]),
        ("model.dropout", ["at least 0 and below 1"]),
        ("model.norm", ["type: pre or post", "default: pre"]),
        ("model.preset", ["default: none", "base: d_model: 512, num_heads: 8, d_ff: 2048"]),
        ("tokenizer.joint", ["type: true or false", "default: true"]),
        ("tokenizer.file", ["type: a path", "default: none"]),
        ("data.train", ["type: a list of sources", "default: required", "tab-separated", "jsonl", "Hub id", "koi8-r"]),
        ("data", ["data: The two languages", "tab-separated", "jsonl"]),
        ("data.dev", ["type: a source", "default: none", "tab-separated"]),
    ],
)
def test_explains_a_key(key, parts):
    text = describe(key)
    assert all(part in text for part in parts)


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("train.lrr", "Did you mean train.lr?"),
        ("lr", "Did you mean train.lr?"),
        ("trian", "Did you mean train?"),
        ("qqq", "See mtx config show."),
    ],
)
def test_suggests_the_nearest_key(key, remedy):
    with pytest.raises(UserError, match=f"unknown key {key}") as caught:
        describe(key)
    assert caught.value.code == ExitCode.USAGE
    assert remedy in str(caught.value)


def test_the_schema_has_every_setting():
    schema = json.loads(json_schema())
    definitions = schema["$defs"]
    for key, field in ALL_KEYS.items():
        section, name = key.split(".")
        properties = definitions[schema["properties"][section]["$ref"].rsplit("/", 1)[1]]["properties"]
        assert properties[name]["description"] == field.description


def test_the_defaults_shown_are_the_defaults_read():
    assert load_config(None, ["train={}"]).train == Config.model_fields["train"].default
