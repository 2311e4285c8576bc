import math

import pytest
from pydantic import ValidationError

from mtx.config.settings import (
    PRESETS,
    Config,
    DataSettings,
    DecodeSettings,
    ModelSettings,
    TokenizerSettings,
    TrainSettings,
)
from mtx.config.sources import Demo, HubDataset, Jsonl, Tsv, TwoFiles

SECTIONS = [TokenizerSettings, ModelSettings, TrainSettings, DecodeSettings]
FLOATS = [(kind, name) for kind in SECTIONS for name, field in kind.model_fields.items() if field.annotation is float]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("kind", "name"), FLOATS)
def test_no_setting_is_infinite_or_not_a_number(kind, name, number):
    with pytest.raises(ValidationError, match=name):
        kind(**{name: number})


KINDS = [*SECTIONS, DataSettings, TwoFiles, Tsv, Jsonl, HubDataset, Demo]
NUMBERS = [
    (kind, name) for kind in KINDS for name, field in kind.model_fields.items() if field.annotation in (int, float)
]


def bounds(kind, name):
    """The smallest and the largest value that a number may have, as far as they are bounded."""
    found = {
        word: getattr(limit, word)
        for limit in kind.model_fields[name].metadata
        for word in ("ge", "gt", "le", "lt")
        if getattr(limit, word, None) is not None
    }
    return found.get("ge", found.get("gt")), found.get("le", found.get("lt"))


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_every_number_has_bounds_that_a_machine_can_count_with(kind, name):
    smallest, largest = bounds(kind, name)
    is_whole = kind.model_fields[name].annotation is int
    assert 0 <= smallest < largest <= (2**32 if is_whole else 1e30)  # int64 and float32 hold far more
    with pytest.raises(ValidationError, match=name):
        kind(**{name: 10**30 if is_whole else 1e38})


def test_the_coverage_is_one_that_sentencepiece_takes():
    assert bounds(TokenizerSettings, "character_coverage") == (0.98, 1.0)


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
