import math

import pytest
from pydantic import ValidationError

from mtx.config.settings import (
    PRESETS,
    Config,
    DecodeSettings,
    Demo,
    HubDataset,
    Jsonl,
    ModelSettings,
    TokenizerSettings,
    TrainSettings,
    Tsv,
    TwoFiles,
)

SECTIONS = [TokenizerSettings, ModelSettings, TrainSettings, DecodeSettings]
FLOATS = [(kind, name) for kind in SECTIONS for name, field in kind.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("kind", "name"), FLOATS)
def test_no_setting_is_infinite_or_not_a_number(kind, name, number):
    with pytest.raises(ValidationError, match=name):
        kind(**{name: number})


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_sizes_that_a_model_may_have(name):
    assert ModelSettings(preset=name).model_dump(include=set(PRESETS[name])) == PRESETS[name]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"d_model": 512, "num_heads": 7}, "multiple of model.num_heads"), ({"d_model": 129, "num_heads": 3}, "even")],
)
def test_the_sizes_of_a_model_fit(sizes, message):
    with pytest.raises(ValidationError, match=message):
        ModelSettings(**sizes)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({"src": "a", "tgt": "b"}, TwoFiles),
        ({"tsv": "a", "src": 2, "tgt": 1}, Tsv),
        ({"jsonl": "a", "src": "en", "tgt": "de"}, Jsonl),
        ({"dataset": "owner/name", "src": "en", "tgt": "de"}, HubDataset),
        ({"demo": "dev"}, Demo),
    ],
)
def test_the_key_of_a_source_tells_its_kind(source, kind):
    config = Config.model_validate({"data": {"train": [source]}})
    assert type(config.data.train[0]) is kind


def test_settings_are_frozen_and_strict():
    with pytest.raises(ValidationError, match="frozen"):
        TrainSettings().lr = 1.0
    with pytest.raises(ValidationError, match="max_stpes"):
        TrainSettings(max_stpes=1)
    with pytest.raises(ValidationError, match="max_steps"):
        TrainSettings(max_steps="1")
