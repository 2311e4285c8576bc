"""Constraints of a search: tokens that may not come next, given those that a hypothesis has so far.

Shapes are as in the search; S counts states.
"""

import codecs
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

import torch
from torch import Tensor

from mtx.text.tokenizer import Tokenizer

# States within a character, each by bytes that lead to it. The second, third and seventh have one, two and three
# bytes left, of any value; in the others the next byte has limits. The first is between characters.
_STATES = (b"", b"\xc2", b"\xe1", b"\xe0", b"\xed", b"\xf0", b"\xf1", b"\xf4")
_BY_BYTES_LEFT = (0, 1, 2, 6)
_IMPOSSIBLE = -1


def _state_after(state: bytes, byte: int) -> int:
    text = state + bytes([byte])
    num_left = next((number for number in range(4) if _is_finished_by(text, number)), None)
    if num_left is None:
        return _IMPOSSIBLE
    return _STATES.index(text) if text in _STATES else _BY_BYTES_LEFT[num_left]


def _is_finished_by(text: bytes, num_bytes: int) -> bool:
    for first in (b"\x80", b"\xbf"):  # one of which every unfinished character allows, and then any others
        with suppress(UnicodeDecodeError):
            return bool((text + (first + b"\x80\x80")[:num_bytes]).decode())
    return False


class WholeCharacters:
    """Byte pieces spell valid UTF-8: no byte that can't be, and nothing else before a character is finished."""

    def __init__(self, byte_ids: Sequence[int], vocab_size: int, device: torch.device) -> None:
        """Prepare for the pieces `byte_ids` of all bytes, in order."""
        after_SN = torch.tensor([[_state_after(state, byte) for byte in range(256)] for state in _STATES])
        bytes_V = torch.zeros(
            vocab_size, dtype=torch.long
        )  # where a byte is needed, other tokens are like an ASCII one
        bytes_V[torch.tensor(byte_ids)] = torch.arange(256)
        self._within = {id_: byte for byte, id_ in enumerate(byte_ids) if byte >= 0x80}
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
        inside = logp_RV[rows]
        logp_RV.index_fill_(1, self._never_first, -torch.inf)
        if len(rows):
            states = torch.zeros_like(rows)
            for ids in ids_RT[rows, -3:].T:  # a character that is not finished has at most three
                states = self._after_SN[states, self._bytes_V[ids]]
            logp_RV[rows] = inside.masked_fill(self._is_impossible_SV[states], -torch.inf)

    def finished(self, ids: list[int]) -> list[int]:
        """`ids` without tokens at the end that begin a character and do not finish it."""
        if not ids or ids[-1] not in self._within:
            return ids
        decoder = codecs.getincrementaldecoder("utf-8")(errors="ignore")
        decoder.decode(bytes(self._within.get(id_, 0) for id_ in ids[-3:]))
        return ids[: len(ids) - len(decoder.getstate()[0])]
