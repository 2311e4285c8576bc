"""Pages hold any text as data."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from mtx.pages.render import to_json


@given(st.text())
def test_json_ends_no_script_and_is_whole(text: str) -> None:
    for value in (text, f"</script><!--<script>{text}\u2028\u202e]]>&amp;\udc80"):
        written = str(to_json({"text": value}))
        assert json.loads(written) == {"text": value}
        assert not re.search("[<>&\u2028\u2029\u202e]", written)
        assert written.encode()  # has no lone surrogates
