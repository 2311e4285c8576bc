"""Prefixes: texts that translations begin with, character for character."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor, inf

from mtx.data.sources.text import is_utf8
from mtx.decode.loops import Surfaces
from mtx.decode.search import Constraint
from mtx.errors import ExitCode, UserError, escape_controls
from mtx.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Prefix:
    """A text and the tokens that spell it.

    All words but the last are the tokens that the tokenizer cuts them into, as in training. The last one may be a part
    of a word: any tokens spell it, and the last of them may go on.
    """

    text: str
    ids: tuple[int, ...]  # Tokens before the last word
    steps: tuple[dict[int, int], ...]
    """By the bytes of the last word that a translation has: the tokens that may be next, and the bytes it then has."""

    @classmethod
    def of(cls, text: str, tokenizer: Tokenizer, surfaces: Surfaces, max_tokens: int, where: str = "") -> Self:
        """The prefix `text` for translations by models with this vocabulary; errors name `where` it is.

        Raises:
            UserError: it is too long, or no translation can begin with it (DATA).
        """
        body = text if tokenizer.is_lossless else text.rstrip(" ")
        ids: list[int] = tokenizer.encode_tgt([body])[0] if is_utf8(body) else []
        shown = escape_controls(repr(text if len(text) <= 60 else f"{text[:57]}...")) + (where and f", {where}")
        if len(ids) > max_tokens:
            what = f"a prefix has {len(ids):,} tokens, more than the {max_tokens:,} of the longest training line"
            raise UserError(ExitCode.DATA, what, where=shown, do="Shorten it.")
        written = tokenizer.decode([ids])[0]
        if written != body or not body or tokenizer.unk_id in ids:
            what = "no translation by this model can begin with the prefix"
            do = f"Its nearest text is {written!r}." if written.strip() else "Give text that has letters."
            raise UserError(ExitCode.DATA, what, where=shown, do=escape_controls(do))
        spelled = b"".join(surfaces.by_id[id_] for id_ in ids) + b" " * (len(text) - len(body))
        last_word, num_bytes = spelled.rfind(b" "), 0
        for count, id_ in enumerate(ids):
            if num_bytes + len(surfaces.by_id[id_]) > max(last_word, 0):
                ids = ids[:count]
                break
            num_bytes += len(surfaces.by_id[id_])
        return cls(text, tuple(ids), _steps(spelled[num_bytes:], surfaces, tokenizer.unk_id))

    @property
    def max_tokens(self) -> int:
        """The most tokens that spell it."""
        return len(self.ids) + len(self.steps)

    def next_tokens(self, ids: Sequence[int]) -> Sequence[int] | None:
        """The tokens that may follow `ids`, the first tokens of a translation; None if these spell the prefix."""
        if len(ids) < len(self.ids):
            return self.ids[len(ids) : len(ids) + 1]
        num_bytes = 0
        for id_ in ids[len(self.ids) :]:
            num_bytes = self.steps[num_bytes].get(id_, len(self.steps))
            if num_bytes == len(self.steps):
                return None
        return list(self.steps[num_bytes])


def _steps(text: bytes, surfaces: Surfaces, unk_id: int) -> tuple[dict[int, int], ...]:
    """By position in `text`, the tokens that continue it and can be continued to its end, and the positions after."""
    steps: list[dict[int, int]] = [{} for _ in text]
    for start in reversed(range(len(text))):
        rest = text[start:]
        steps[start] = dict.fromkeys(surfaces.beginning_with(rest), len(text))
        for size in range(1, min(len(rest), surfaces.longest + 1)):
            if steps[start + size]:
                steps[start] |= dict.fromkeys(surfaces.equal_to(rest[:size]), start + size)
        steps[start].pop(unk_id, None)  # its surface is a sign that stands for any text
    return tuple(steps)


class Prefixes:
    """Makes translations begin with prefixes; after these, other constraints apply.

    Tokens of a prefix keep the probability that the model gives them.
    """

    def __init__(self, prefixes: Sequence[Prefix | None], others: Sequence[Constraint]) -> None:
        """Prepare for sentences with these `prefixes`."""
        self._prefixes, self._others = prefixes, others
        self._longest = max((each.max_tokens for each in prefixes if each is not None), default=0)

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        rows: list[int] = []
        tokens: list[int] = []
        if ids_RT.size(1) <= self._longest:
            for row, (ids, sentence) in enumerate(zip(ids_RT[:, 1:].tolist(), sentences_R.tolist(), strict=True)):
                prefix = self._prefixes[sentence]
                following = prefix.next_tokens(ids) if prefix is not None else None
                if following is not None:
                    rows += [row] * len(following)
                    tokens += following
        logp = logp_RV[rows, tokens]
        for constraint in self._others:
            constraint.apply(logp_RV, ids_RT, sentences_R)
        logp_RV[rows] = -inf
        logp_RV[rows, tokens] = logp
