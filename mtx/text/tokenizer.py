"""SentencePiece models: text to ids and back. Special ids are read from the model.

Decoding gives the text as the model's normalization left it, on one line. A model is lossless if it normalizes
nothing, keeps all spaces and falls back to bytes: then decoding gives the original text, except for line feeds. A model
whose normalization is meant for the source only serves the target without it: then decoding gives the original target,
except for spaces at its ends and control characters other than tabs.
SentencePiece writes a space as U+2581. If that character occurs in a text, models that keep all others get it escaped;
for others it becomes a space.
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
from mtx.text.normalization import is_for_source, without_rules

_MODEL_FOLDER = (("spm.model",), ("source.spm", "target.spm"))
_RUN_FOLDER = (("tokenizer.model",), ("tokenizer.src.model", "tokenizer.tgt.model"))

# Characters that some reader takes for a line end, or that control a terminal.
BREAKS_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BREAKS_BUT_TABS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_SPACES = re.compile("[ \x00-\x1f\x7f-\x9f\u2028\u2029]+")

_SPACE_MARK = "\u2581"
_ESCAPE = "\ufdd0"  # A noncharacter that begins each escape
_PROBE = "  \ufb01 \0e\u0301\u3000\ufdd0 "
"""Text that only a lossless model gives back: spaces everywhere, and characters that are rare or get normalized."""


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """SentencePiece models for source and target; the same one twice if the vocabulary is joint."""

    files: Mapping[str, bytes] = field(repr=False)  # Models by file name: spm.model, or source.spm and target.spm
    src_pieces: Any = field(repr=False)
    tgt_pieces: Any = field(repr=False)
    pad_id: int
    unk_id: int
    bos_id: int
    eos_id: int
    is_lossless: bool  # Whether both models are lossless
    folds_source_only: bool  # Whether only the source is normalized
    escapes_tgt: bool  # Whether a U+2581 in a target is escaped, so that decoding gives it back

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], where: str = "") -> Self:
        """Build a tokenizer from `files`, the source's first; errors name `where` or the file.

        Raises:
            UserError: a file is not a SentencePiece model, or lacks a special symbol that translation needs (MODEL).
        """
        pieces = [_load_pieces(model, where or name) for name, model in files.items()]
        src_pieces, tgt_pieces = pieces[0], pieces[-1]
        specials = _special_ids(src_pieces)
        if _special_ids(tgt_pieces) != specials:
            do = "Train both with the same pad, unk, bos and eos ids."
            raise UserError(ExitCode.MODEL, "source.spm and target.spm differ in their special symbols", do=do)
        is_lossless = all(map(_gives_back_probe, pieces))
        if folds_source_only := is_for_source(next(iter(files.values()))):
            tgt_pieces = _load_pieces(without_rules([*files.values()][-1]), where or "the target's model")
        escapes_tgt = is_lossless or (folds_source_only and _gives_back_probe(tgt_pieces))
        return cls(
            files,
            src_pieces,
            tgt_pieces,
            **specials,
            is_lossless=is_lossless,
            folds_source_only=folds_source_only,
            escapes_tgt=escapes_tgt,
        )

    @property
    def is_joint(self) -> bool:
        return len(self.files) == 1

    @property
    def src_vocab_size(self) -> int:
        return int(self.src_pieces.get_piece_size())

    @property
    def tgt_vocab_size(self) -> int:
        return int(self.tgt_pieces.get_piece_size())

    @property
    def tgt_byte_ids(self) -> list[int]:
        """Ids of the target's pieces for the 256 bytes, in order; empty if it has none."""
        ids: list[int] = self.tgt_pieces.piece_to_id([f"<0x{byte:02X}>" for byte in range(256)])
        return ids if all(map(self.tgt_pieces.is_byte, ids)) else []

    def tgt_surfaces(self) -> list[bytes]:
        """The text of each piece of the target in UTF-8; parts of a character are possible."""
        pieces, byte_ids = self.tgt_pieces, {id_: byte for byte, id_ in enumerate(self.tgt_byte_ids)}
        texts = [str(pieces.id_to_piece(id_)).replace(_SPACE_MARK, " ") for id_ in range(self.tgt_vocab_size)]
        surfaces = [bytes([byte_ids[id_]]) if id_ in byte_ids else text.encode() for id_, text in enumerate(texts)]
        for id_ in filter(pieces.is_control, range(self.tgt_vocab_size)):
            surfaces[id_] = b""
        surfaces[self.unk_id] = pieces.decode([self.unk_id]).encode()
        return surfaces

    @property
    def digest(self) -> str:
        """SHA-256 of the models, in hex."""
        digest = hashlib.sha256()
        for name, model in self.files.items():
            digest.update(name.encode() + hashlib.sha256(model).digest())
        return digest.hexdigest()

    @property
    def tags(self) -> dict[str, int]:
        """Ids of the tags that a source may begin with, by name."""
        special = (self.pad_id, self.unk_id, self.bos_id, self.eos_id)
        pieces = self.src_pieces
        controls = (id_ for id_ in range(self.src_vocab_size) if pieces.is_control(id_) and id_ not in special)
        symbols = {str(pieces.id_to_piece(id_)): id_ for id_ in controls}
        # Models from elsewhere have other control symbols too, such as [MASK].
        return {symbol[1:-1]: id_ for symbol, id_ in symbols.items() if symbol == tag_symbol(symbol[1:-1])}

    def tag_id(self, tag: str) -> int:
        """The id of a tag, to put before the ids of a source.

        Raises:
            UserError: the model has no such tag (USAGE).
        """
        tags = self.tags
        if tag not in tags:
            do = f"Give one of {', '.join(tags)}." if tags else "Leave it out."
            raise UserError(ExitCode.USAGE, f"the tokenizer has no tag {tag}", do=do)
        return tags[tag]

    def encode_src(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of source sentences, without bos and eos. Of the special ids, text can only yield unk."""
        return _encode(self.src_pieces, sentences, is_escaped=self.is_lossless)

    def encode_tgt(self, sentences: Sequence[str]) -> list[list[int]]:
        """Ids of target sentences, without bos and eos. Of the special ids, text can only yield unk."""
        if self.folds_source_only:
            sentences = [without_breaks(sentence).strip() for sentence in sentences]
        return _encode(self.tgt_pieces, sentences, is_escaped=self.escapes_tgt)

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
        if self.escapes_tgt:
            texts = [_unescape(text) for text in texts]
        if self.is_lossless:
            return [text.replace("\n", " ") for text in texts]
        if self.folds_source_only:
            return [without_breaks(text).strip() for text in texts]
        return [_collapse_breaks(text) for text in texts]


def _encode(pieces: Any, sentences: Sequence[str], *, is_escaped: bool) -> list[list[int]]:
    texts = [escape(text) if is_escaped else text.replace(_SPACE_MARK, " ") for text in sentences]
    ids: list[list[int]] = pieces.encode(texts, out_type=int, num_threads=1)
    return ids


def tag_symbol(tag: str) -> str:
    """The control symbol of `tag`."""
    return f"<{tag}>"


def without_breaks(text: str) -> str:
    """`text` with a space instead of each character that breaks a line. Tabs stay."""
    return _BREAKS_BUT_TABS.sub(" ", text)


def _collapse_breaks(text: str) -> str:
    """Replace each run of spaces and line-breaking characters by one space, if `text` has any of the latter."""
    return (_SPACES.sub(" ", text) if BREAKS_LINE.search(text) else text).strip()


def escape(text: str) -> str:
    """Escape `text` for a model that keeps it: the mark for a space, and the character that begins an escape."""
    return text.replace(_ESCAPE, f"{_ESCAPE}.").replace(_SPACE_MARK, f"{_ESCAPE}_")


def _unescape(text: str) -> str:
    """Undo `escape`; invalid escapes are kept."""
    return text.replace(f"{_ESCAPE}_", _SPACE_MARK).replace(f"{_ESCAPE}.", _ESCAPE)


def _gives_back_probe(pieces: Any) -> bool:
    try:
        return bool(pieces.decode(pieces.encode(_PROBE)) == _PROBE)
    except UnicodeDecodeError:  # a model from elsewhere may yield invalid UTF-8
        return False


def load_tokenizer(path: Path) -> Tokenizer:
    """Load the tokenizer of a run folder or model folder, or a single SentencePiece model file.

    Raises:
        UserError: it is missing, damaged, too large, or lacks special symbols that translation needs (MODEL).
    """
    if os.path.isfile(path):
        return Tokenizer.from_files({"spm.model": _read_model(path.resolve())}, str(path))
    match tokenizer_files(path):
        case [name]:
            return Tokenizer.from_files({"spm.model": _read_model(path / name)}, str(path / name))
        case [src, tgt]:
            return Tokenizer.from_files({"source.spm": _read_model(path / src), "target.spm": _read_model(path / tgt)})
    do = "Give a model folder, a run folder or a SentencePiece model."
    raise UserError(ExitCode.MODEL, f"no tokenizer at {path}", do=do)


def tokenizer_files(folder: Path) -> tuple[str, ...]:
    """Names of the tokenizer's files in `folder`: one, or one each for source and target; empty if there are none."""
    return next((names for names in (*_MODEL_FOLDER, *_RUN_FOLDER) if os.path.lexists(folder / names[0])), ())


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
    ids = {name: int(getattr(pieces, f"{name}_id")()) for name in ("pad", "unk", "bos", "eos")}
    for name, id_ in ids.items():
        if id_ < 0:
            do = "Train it with --pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3."
            raise UserError(ExitCode.MODEL, f"the SentencePiece model has no {name} symbol", do=do)
    return {f"{name}_id": id_ for name, id_ in ids.items()}
