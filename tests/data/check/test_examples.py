"""Examples are short whatever the text is."""

from mtx.data.check.overlap import Example, example_of, shortened


def test_long_text_is_cut() -> None:
    assert example_of(3, ("a" * 200, "b" * 201)) == Example(3, "a" * 200, "b" * 199 + "…")
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
