"""The embedded demo: a synthetic English-German corpus, drawn from a grammar, that shows why attention matters."""

from mtx.demo.corpus import read_demo

__all__ = ["read_demo"]
