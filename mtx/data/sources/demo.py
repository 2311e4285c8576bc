"""The embedded demo corpus as a source."""

from collections.abc import Iterator
from pathlib import Path

from mtx.config.sources import Demo
from mtx.data.sources.base import Pair, Reader


class DemoReader(Reader[Demo]):
    settings_type = Demo

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        from mtx.demo import read_demo

        yield from read_demo(self.settings.demo)

    @property
    def label(self) -> str:
        return f"demo {self.settings.demo}"

    def content_files(self) -> list[Path]:
        """The code that generates the corpus."""
        from mtx import demo

        return sorted(Path(demo.__file__).parent.glob("*.py"))
