"""Examples are short whatever the text is."""

from mtx.data.check.examples import MAX_SHOWN, Example, example_of, shortened


def test_long_text_is_cut() -> None:
    assert example_of(3, ("a" * MAX_SHOWN, "b" * (MAX_SHOWN + 1))) == Example(3, "a" * 200, "b" * 199 + "…")
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
