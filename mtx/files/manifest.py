"""What `manifest.json` holds, in types: nothing in it that a stranger wrote is believed before it fits these."""

import os
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field


def _in_the_folder(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(os.fsencode(name)) > 255:
        raise ValueError("not the name of a file")
    return name


class Seal(BaseModel, extra="forbid", frozen=True, strict=True):
    """What a sealed file must be."""

    size: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel, extra="forbid", frozen=True, strict=True):
    """The manifest of a sealed folder."""

    format: int
    mtx: str
    about: dict[str, Any]
    files: dict[Annotated[str, AfterValidator(_in_the_folder)], Seal]
    sha256: str
    """Of all the rest."""
