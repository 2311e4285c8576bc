"""Limits that several settings share."""

from typing import Annotated

from pydantic import Field

MAX_COUNT = 1_000_000_000  # Largest number of steps, tokens or sentences; products of two still fit into 64 bits
MAX_VOCAB_SIZE = 500_000

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
