import math

import pytest
from pydantic import ValidationError

from mtx.config.decoding import DecodeSettings
from mtx.config.settings import PRESETS, Config, DataSettings, ModelSettings, TokenizerSettings, TrainSettings
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
    """Smallest and largest value of a number, None where it is not bounded."""
    found = {
        word: getattr(limit, word)
        for limit in kind.model_fields[name].metadata
        for word in ("ge", "gt", "le", "lt")
        if getattr(limit, word, None) is not None
    }
    return found.get("ge", found.get("gt")), found.get("le", found.get("lt"))


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_every_number_has_bounds_that_cannot_overflow(kind, name):
    smallest, largest = bounds(kind, name)
    is_whole = kind.model_fields[name].annotation is int
    assert 0 <= smallest < largest <= (2**32 if is_whole else 1e30)  # int64 and float32 hold far more
    with pytest.raises(ValidationError, match=name):
        kind(**{name: 10**30 if is_whole else 1e38})


def test_character_coverage_is_in_sentencepieces_range():
    assert bounds(TokenizerSettings, "character_coverage") == (0.98, 1.0)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_model(name):
    assert ModelSettings(preset=name).model_dump(include=set(PRESETS[name])) == PRESETS[name]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"d_model": 512, "num_heads": 7}, "multiple of model.num_heads"), ({"d_model": 129, "num_heads": 3}, "even")],
)
def test_mismatched_model_sizes_are_refused(sizes, message):
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
def test_the_kind_of_a_source_follows_from_its_key(source, kind):
    config = Config.model_validate({"data": {"train": [source]}})
    assert type(config.data.train[0]) is kind


def test_settings_are_frozen_and_strict():
    with pytest.raises(ValidationError, match="frozen"):
        TrainSettings().lr = 1.0
    with pytest.raises(ValidationError, match="max_stpes"):
        TrainSettings(max_stpes=1)
    with pytest.raises(ValidationError, match="max_steps"):
        TrainSettings(max_steps="1")
