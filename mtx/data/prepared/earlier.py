"""Data that the version before prepared: whether it is the same as now, so that a run in progress may go on."""

import re

from mtx.config.settings import Config
from mtx.data.cleaning.damage import is_damaged
from mtx.data.prepared.prepare import data_key
from mtx.data.sources.read import read_pairs
from mtx.text.tokenizer import Tokenizer

VERSION = 3  # Differs from 4 in its rule for damaged text, and knew few codes of languages but those of two letters
_DAMAGE = re.compile("[\ufffd\x00-\x08\x0e-\x1f\x7f-\x9f\ue000-\uf8ff]|[ÃÂ][\u0080-\u00bf]|â€[™œ“”˜¦]")


def was_prepared_alike(key: str, config: Config, tokenizer: Tokenizer) -> bool:
    """Whether `key` is that of version 3 for the data of `config`, and means the same pairs. All are read for that.

    Raises:
        UserError: a source can't be read (DATA).
    """
    data = config.data
    if key != data_key(data.train, data, config.clean, tokenizer, VERSION):
        return False
    if any(len(code) != 2 for codes in data.all_languages for code in codes):
        return False
    pairs = (pair for source in data.train for pair in read_pairs(source, data.src_lang, data.tgt_lang))
    return config.clean.damage == "keep" or all(map(_is_judged_alike, (text for pair in pairs for text in pair)))


def _is_judged_alike(text: str) -> bool:
    return text.isascii() or is_damaged(text) == (_DAMAGE.search(text) is not None)
