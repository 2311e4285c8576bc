"""Constraints of a search: tokens that can't follow those of a hypothesis, or become less probable.

Shapes are as in `mtx.decode.search`; S counts states, N byte values, or the tokens of an n-gram.
"""

import codecs
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from mtx.config.decoding import DecodeOptions
from mtx.decode.search import Constraint
from mtx.text.tokenizer import Tokenizer

# States within a character, and from each by ranges of bytes to the next: the Unicode Standard, Table 3-7. State 0 is
# between characters; 1, 2 and 6 have one, two and three bytes left, of any value; in the others the next has limits.
_NEXT_STATES = (
    {(0x00, 0x7F): 0, (0xC2, 0xDF): 1, (0xE0, 0xE0): 3, (0xE1, 0xEC): 2, (0xED, 0xED): 4, (0xEE, 0xEF): 2}
    | {(0xF0, 0xF0): 5, (0xF1, 0xF3): 6, (0xF4, 0xF4): 7},
    {(0x80, 0xBF): 0},
    {(0x80, 0xBF): 1},
    {(0xA0, 0xBF): 1},
    {(0x80, 0x9F): 1},
    {(0x90, 0xBF): 2},
    {(0x80, 0xBF): 2},
    {(0x80, 0x8F): 2},
)
_IMPOSSIBLE = -1


class WholeCharacters:
    """Makes byte pieces spell valid UTF-8: any token that can't follow an unfinished character is impossible."""

    def __init__(self, byte_ids: Sequence[int], vocab_size: int, device: torch.device) -> None:
        """Prepare for a vocabulary in which `byte_ids` are the pieces of bytes 0 to 255."""
        after_SN = torch.full((len(_NEXT_STATES), 256), _IMPOSSIBLE)
        for after_N, ranges in zip(after_SN, _NEXT_STATES, strict=True):
            for (first, last), state in ranges.items():
                after_N[first : last + 1] = state
        # Inside a character, a token that is not a byte is as impossible as an ASCII byte.
        bytes_V = torch.zeros(vocab_size, dtype=torch.long)
        bytes_V[torch.tensor(byte_ids)] = torch.arange(256)
        self._multibyte = {id_: byte for byte, id_ in enumerate(byte_ids) if byte >= 0x80}  # Bytes of longer characters
        self._bytes_V = bytes_V.to(device)
        self._is_impossible_SV = (after_SN == _IMPOSSIBLE)[:, bytes_V].to(device)
        self._never_first = self._is_impossible_SV[0].nonzero()[:, 0]
        self._after_SN = after_SN.clamp(min=0).to(device)

    @classmethod
    def of(cls, tokenizer: Tokenizer, device: torch.device) -> Self | None:
        """The constraint for targets of `tokenizer`; None if it has no byte pieces."""
        byte_ids = tokenizer.tgt_byte_ids
        return cls(byte_ids, tokenizer.tgt_vocab_size, device) if byte_ids else None

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        rows = (self._bytes_V[ids_RT[:, -1]] >= 0x80).nonzero()[:, 0]
        logp_inside = logp_RV[rows] if len(rows) else None
        logp_RV.index_fill_(1, self._never_first, -torch.inf)
        if logp_inside is not None:
            states = torch.zeros_like(rows)
            for ids in ids_RT[rows, -3:].T:  # a character that is not finished has at most three
                states = self._after_SN[states, self._bytes_V[ids]]
            logp_RV[rows] = logp_inside.masked_fill(self._is_impossible_SV[states], -torch.inf)

    def finished(self, ids: list[int]) -> list[int]:
        """`ids` without a character at the end that is not finished."""
        if not ids or ids[-1] not in self._multibyte:
            return ids
        decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        decoder.decode(bytes(self._multibyte.get(id_, 0) for id_ in ids[-3:]))
        return ids[: len(ids) - len(decoder.getstate()[0])]


class NoRepeats:
    """Makes tokens impossible that repeat an n-gram of `size` (Paulus et al. 2018), unless no other is possible."""

    def __init__(self, size: int) -> None:
        self._size = size

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        ids_RT = ids_RT[:, 1:]  # without the start symbol
        if ids_RT.size(1) < self._size:
            return
        before = self._size - 1
        ngrams_RTN = ids_RT.unfold(1, self._size, 1)
        latest_R1N = ids_RT[:, None, ids_RT.size(1) - before :]
        rows, places = (ngrams_RTN[:, :, :before] == latest_R1N).all(dim=2).nonzero(as_tuple=True)
        repeated = ngrams_RTN[rows, places, before]
        logp = logp_RV[rows, repeated]
        logp_RV[rows, repeated] = -torch.inf
        blocked = torch.unique(rows)
        stuck = blocked[logp_RV[blocked].amax(dim=1).isneginf()]  # such as after the first byte of a character
        is_stuck = torch.isin(rows, stuck)
        logp_RV[rows[is_stuck], repeated[is_stuck]] = logp[is_stuck]


class RepetitionPenalty:
    """Multiplies the log-probabilities of a hypothesis' own tokens (Keskar et al. 2019)."""

    def __init__(self, penalty: float) -> None:
        self._penalty = penalty

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        used_RT = ids_RT[:, 1:]
        logp_RV.scatter_(1, used_RT, logp_RV.gather(1, used_RT) * self._penalty)


class MinLength:
    """Makes the end symbol impossible before a hypothesis has `length` tokens."""

    def __init__(self, length: int, eos_id: int) -> None:
        self._length, self._eos_id = length, eos_id

    def apply(self, logp_RV: Tensor, ids_RT: Tensor, sentences_R: Tensor) -> None:
        if ids_RT.size(1) - 1 < self._length:
            logp_RV[:, self._eos_id] = -torch.inf


def constraints_of(options: DecodeOptions, eos_id: int) -> list[Constraint]:
    """The constraints that `options` ask for, which come after all others."""
    constraints: list[Constraint] = []
    if options.repetition_penalty > 1:
        constraints.append(RepetitionPenalty(options.repetition_penalty))
    if options.min_length:
        constraints.append(MinLength(options.min_length, eos_id))
    if options.no_repeat_ngram:  # last, since it must know what else is possible
        constraints.append(NoRepeats(options.no_repeat_ngram))
    return constraints
