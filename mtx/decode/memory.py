"""Searches in smaller batches, where memory ends."""

from collections.abc import Callable

from mtx.decode.search import Hypothesis
from mtx.system.device import is_out_of_memory

Sentences = list[list[int]]
Search = Callable[[Sentences], list[list[Hypothesis]]]


class SentenceTooLargeError(Exception):
    """There is no memory to translate one sentence by itself; its only argument are the ids of that."""

    @property
    def ids(self) -> list[int]:
        """The sentence."""
        return list(self.args[0])


def search_within_memory(search: Search, sentences: Sentences) -> list[list[Hypothesis]]:
    """What `search` finds for `sentences`, half of them at a time where there is no memory for all.

    Raises:
        SentenceTooLargeError: there is none for one of them.
    """
    try:
        return search(sentences)
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        if len(sentences) == 1:
            raise SentenceTooLargeError(sentences[0]) from error
    # Not before the error is gone, which holds on to all that the failed search has made.
    middle = len(sentences) // 2
    return [found for half in (sentences[:middle], sentences[middle:]) for found in search_within_memory(search, half)]
