"""SentencePiece models: text to ids and back. Special ids are read from the model.

Decoding gives the text as the model's normalization left it, on one line. A model is lossless if it normalizes
nothing, keeps all spaces and falls back to bytes: then decoding gives the original text, except for line feeds.
SentencePiece writes a space as U+2581. If that character occurs in a text, lossless models get it escaped; for others
it becomes a space.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mtx.errors import ExitCode, UserError
from mtx.files.untrusted import read_small_file
from mtx.text.check_model import MAX_MODEL_BYTES, check_model

_RUN_SIDES = ("tokenizer.src.model", "tokenizer.tgt.model")
_SPECIALS = ("pad", "unk", "bos", "eos")
BREAKS_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Characters that some reader takes for a line end, or that control a terminal."""
_SPACES = re.compile("[ \x00-\x1f\x7f-\x9f\u2028\u2029]+")

_SPACE_MARK = "\u2581"
_ESCAPES = {_SPACE_MARK: "\ufdd0_", "\ufdd0": "\ufdd0."}
"""Escapes for lossless models: of the mark for a space, and of the noncharacter that begins each escape."""
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}
_TO_ESCAPE, _ESCAPED = re.compile("[\u2581\ufdd0]"), re.compile("\ufdd0[_.]")
_PROBE = "  \ufb01 \0e\u0301\u3000\ufdd0 "
"""Text that only a lossless model gives back: spaces everywhere, and characters that are rare or get normalized."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """SentencePiece models for source and target; the same one twice if the vocabulary is joint."""

    src_model: bytes = field(repr=False)
    tgt_model: bytes = field(repr=False)
    src_pieces: Any = field(repr=False)
    tgt_pieces: Any = field(repr=False)
    pad_id: int
    unk_id: int
    bos_id: int
    eos_id: int
    is_lossless: bool  # Whether both models are lossless

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], where: str = "") -> Self:
        """Build a tokenizer from the result of `files`; `where` is named in errors.

        Raises:
            UserError: a file is not a SentencePiece model, or lacks a special symbol that translation needs (MODEL).
        """
        if "spm.model" in files:
            src_model = tgt_model = files["spm.model"]
            src_pieces = tgt_pieces = _load_pieces(src_model, where or "spm.model")
        else:
            src_model, tgt_model = files["source.spm"], files["target.spm"]
            src_pieces, tgt_pieces = _load_pieces(src_model, "source.spm"), _load_pieces(tgt_model, "target.spm")
        specials = _special_ids(src_pieces)
        if _special_ids(tgt_pieces) != specials:
            do = "Train both with the same pad, unk, bos and eos ids."
            raise UserError(ExitCode.MODEL, "source.spm and target.spm differ in their special symbols", do=do)
        is_lossless = _gives_back(src_pieces, _PROBE) and _gives_back(tgt_pieces, _PROBE)
        return cls(src_model, tgt_model, src_pieces, tgt_pieces, **specials, is_lossless=is_lossless)

    @property
    def is_joint(self) -> bool:
        return self.src_pieces is self.tgt_pieces

    @property
    def src_vocab_size(self) -> int:
        return int(self.src_pieces.get_piece_size())

    @property
    def tgt_vocab_size(self) -> int:
        return int(self.tgt_pieces.get_piece_size())

    @property
    def digest(self) -> str:
        """SHA-256 of the models, in hex."""
        digest = hashlib.sha256()
        for name, model in self.files().items():
            digest.update(name.encode() + hashlib.sha256(model).digest())
        return digest.hexdigest()

    def files(self) -> dict[str, bytes]:
        """The serialized models, by file name."""
        if self.is_joint:
            return {"spm.model": self.src_model}
        return {"source.spm": self.src_model, "target.spm": self.tgt_model}

    @property
    def tags(self) -> list[str]:
        """Names of the tags that a source may begin with."""
        symbols = (str(self.src_pieces.id_to_piece(id_)) for id_ in range(self.src_vocab_size) if self._is_tag(id_))
        # Models from elsewhere have other control symbols too, such as [MASK].
        return [symbol[1:-1] for symbol in symbols if symbol == tag_symbol(symbol[1:-1])]

    def tag_id(self, tag: str) -> int:
        """The id of a tag, to put before the ids of a source.

        Raises:
            UserError: the model has no such tag (USAGE).
        """
        id_ = int(self.src_pieces.piece_to_id(tag_symbol(tag)))
        if not self._is_tag(id_):
            known = ", ".join(self.tags)
            do = f"Give one of {known}." if known else "Leave it out."
            raise UserError(ExitCode.USAGE, f"the tokenizer has no tag {tag}", do=do)
        return id_

    def _is_tag(self, id_: int) -> bool:
        special = (self.pad_id, self.unk_id, self.bos_id, self.eos_id)
        return id_ not in special and bool(self.src_pieces.is_control(id_))

    def encode_src(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of source sentences, without bos and eos. Of the special ids, text can only yield unk."""
        return self._encode(self.src_pieces, sentences)

    def encode_tgt(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of target sentences, without bos and eos. Of the special ids, text can only yield unk."""
        return self._encode(self.tgt_pieces, sentences)

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Target sentences, one line each. Special ids become nothing, and characters that break a line a space.

        A lossless model keeps all other characters; with any other, spaces at both ends are removed.

        Raises:
            UserError: the model's own tables yield invalid UTF-8 (MODEL).
        """
        try:
            texts = self.tgt_pieces.decode([list(sentence) for sentence in ids], num_threads=1)
        except UnicodeDecodeError as error:
            what, do = "the target's SentencePiece model yields text that is not UTF-8", "Train a new one."
            raise UserError(ExitCode.MODEL, what, do=do) from error
        return [_unescape(text).replace("\n", " ") if self.is_lossless else _on_one_line(text) for text in texts]

    def _encode(self, pieces: Any, sentences: Sequence[str]) -> list[list[int]]:
        if self.is_lossless:
            texts = [escape(sentence) for sentence in sentences]
        else:
            texts = [sentence.replace(_SPACE_MARK, " ") for sentence in sentences]
        ids: list[list[int]] = pieces.encode(texts, out_type=int, num_threads=1)
        return ids


def tag_symbol(tag: str) -> str:
    """The control symbol of `tag`."""
    return f"<{tag}>"


def pieces_of(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The pieces of source ids, as SentencePiece writes them: with U+2581 for a space."""
    return [str(tokenizer.src_pieces.id_to_piece(id_)) for id_ in ids]


def ids_of(tokenizer: Tokenizer, pieces: Sequence[str]) -> list[int]:
    """The target ids of pieces as SentencePiece writes them; unk for unknown ones."""
    return [int(tokenizer.tgt_pieces.piece_to_id(piece)) for piece in pieces]


def _on_one_line(text: str) -> str:
    """Replace each run of spaces and line-breaking characters by one space, if `text` has any of the latter."""
    return (_SPACES.sub(" ", text) if BREAKS_LINE.search(text) else text).strip()


def escape(text: str) -> str:
    """Escape `text` for a lossless model."""
    return _TO_ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


def _unescape(text: str) -> str:
    """Undo `escape`; invalid escapes are kept."""
    return _ESCAPED.sub(lambda match: _UNESCAPES[match[0]], text)


def _gives_back(pieces: Any, text: str) -> bool:
    try:
        return bool(pieces.decode(pieces.encode(text)) == text)
    except UnicodeDecodeError:  # a model from elsewhere may yield invalid UTF-8
        return False


# --- load ------------------------------------------------------------------------------------------------------------


def load_tokenizer(path: Path) -> Tokenizer:
    """Load the tokenizer of a run folder or model folder, or a single SentencePiece model file.

    Raises:
        UserError: it is missing, damaged, too large, or lacks special symbols that translation needs (MODEL).
    """
    if os.path.isfile(path):
        return Tokenizer.from_files({"spm.model": _read_model(path.resolve())}, str(path))
    names = tokenizer_files(path)
    if not names:
        do = "Give a model folder, a run folder or a SentencePiece model."
        raise UserError(ExitCode.MODEL, f"no tokenizer at {path}", do=do)
    models = {name: _read_model(path / name) for name in names}
    if len(names) == 1:
        return Tokenizer.from_files({"spm.model": models[names[0]]}, str(path / names[0]))
    return Tokenizer.from_files(dict(zip(("source.spm", "target.spm"), models.values(), strict=True)))


def tokenizer_files(folder: Path) -> tuple[str, ...]:
    """Names of the tokenizer's files in `folder`: one, or one each for source and target; empty if there are none."""
    for names in (("spm.model",), ("tokenizer.model",), ("source.spm", "target.spm"), _RUN_SIDES):
        if os.path.lexists(folder / names[0]):
            return names
    return ()


def _read_model(path: Path) -> bytes:
    try:
        return read_small_file(path, MAX_MODEL_BYTES)
    except FileNotFoundError:
        raise UserError(ExitCode.MODEL, f"{path} is missing", do="Restore it.") from None
    except ValueError as error:
        raise UserError(ExitCode.MODEL, f"{path} is {error}", do="Give a SentencePiece model.") from None
    except OSError as error:
        raise UserError(ExitCode.MODEL, f"cannot read {path}: {error.strerror}", do="Check the file.") from error


def _load_pieces(model: bytes, name: str) -> Any:
    import sentencepiece

    try:
        check_model(model)
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError) as error:
        why = f": {error}" if type(error) is ValueError else ""
        what = f"{name} is not a SentencePiece model, or is damaged{why}"
        raise UserError(ExitCode.MODEL, what, do="Restore it or train a new one.") from error


def _special_ids(pieces: Any) -> dict[str, int]:
    """The ids of pad, unk, bos and eos, as SentencePiece reports them: never of pieces that text can yield."""
    ids = {name: int(getattr(pieces, f"{name}_id")()) for name in _SPECIALS}
    for name, id_ in ids.items():
        if id_ < 0:
            do = "Train it with --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3."
            raise UserError(ExitCode.MODEL, f"the SentencePiece model has no {name} symbol", do=do)
    return {f"{name}_id": id_ for name, id_ in ids.items()}
