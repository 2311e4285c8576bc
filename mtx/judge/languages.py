"""BLEU's tokenizer for each language, and notes on languages and text for which scores mean less."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

from mtx.text.languages import is_language_code, nearest_code, script_of
from mtx.text.writing_systems import SPACELESS, spaceless_language

# sacreBLEU's tokenizers for scripts that its default, 13a, does not suit, by ISO 15924 code
BLEU_TOKENIZERS = {
    **dict.fromkeys(SPACELESS, "char"),
    **dict.fromkeys(("Hans", "Hant", "Hani"), "zh"),
    **dict.fromkeys(("Jpan", "Hira", "Kana", "Hrkt"), "ja-mecab"),
    **dict.fromkeys(("Kore", "Hang"), "ko-mecab"),
}

# A lone comma or full stop, or what tokenizers write for hyphens, apostrophes and subwords.
_TOKENIZED = re.compile(r"\S [.,](?: |$)|\S @-@ \S|&(?:apos|quot);|@@ |\u2581")


def choose_bleu_tokenizer(tgt_lang: str | None, references: Iterable[str] = ()) -> str:
    """Choose sacreBLEU's tokenizer for BLEU by the script of a language or, if that is not known, of `references`.

    If the one for Japanese or Korean is not installed, choose `char`: each character counts as a word.
    """
    wanted = _best_bleu_tokenizer(scored_language(tgt_lang, references))
    return wanted if has_bleu_tokenizer(wanted) else "char"


def scored_language(tgt_lang: str | None, references: Iterable[str]) -> str | None:
    """The language by which BLEU cuts words: `tgt_lang`, or if its script is not known that of `references`."""
    return tgt_lang if script_of(tgt_lang or "") else spaceless_language(references) or tgt_lang


def script_notes(tgt_lang: str | None, references: Iterable[str]) -> Iterator[str]:
    """Yield a line if `references` put no spaces between words, but BLEU of `tgt_lang` counts on them."""
    if (
        script_of(tgt_lang or "")
        and _best_bleu_tokenizer(tgt_lang) == "13a"
        and (found := spaceless_language(references))
    ):
        yield f"the references are scored as {tgt_lang}, but by their script they are in {found}"


def language_notes(src_langs: Iterable[str], tgt_langs: Collection[str]) -> Iterator[str]:
    """Yield a line for each language that is unknown or scored by characters, for the user to read before training."""
    for language in dict.fromkeys(tgt_langs):
        wanted = _best_bleu_tokenizer(language)
        if not has_bleu_tokenizer(wanted):
            what = f"BLEU of {language} counts characters (tok:char): {wanted}, which cuts words, is not installed"
            yield f"{what}. Install it with: pip install 'mtx[cjk]'."
    for language in dict.fromkeys([*src_langs, *tgt_langs]):
        if not is_language_code(language):
            near = nearest_code(language)
            do = "Write x-NAME for a language without a code." if near == language else f"Did you mean {near}?"
            yield f"{language} is not a language code, so rules and scores do not know the language. {do}"


def _best_bleu_tokenizer(language: str | None) -> str:
    return BLEU_TOKENIZERS.get(script_of(language or "") or "", "13a")


def has_bleu_tokenizer(tokenizer: str) -> bool:
    """Whether the packages of a tokenizer of sacreBLEU are installed."""
    from sacrebleu.metrics import BLEU

    try:
        BLEU(tokenize=tokenizer)
    except (ImportError, RuntimeError):
        return False
    return True


def looks_tokenized(lines: Sequence[str]) -> bool:
    """Whether most non-empty lines look tokenized, such as "isn 't it , Sir ."."""
    texts = [line for line in lines if line.strip()]
    return sum(_TOKENIZED.search(line) is not None for line in texts) > len(texts) / 2
