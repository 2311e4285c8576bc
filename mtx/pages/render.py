"""Rendering of self-contained HTML pages. Their skeleton is `page.html.j2`, their style `page.css`."""

import base64
import hashlib
import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from mtx.errors import escape_controls

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

# What could end a script or start a comment, line ends of JavaScript, invisible characters and surrogates
_UNSAFE = re.compile("[<>&\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")


def render(template: str, **values: Any) -> str:
    """Render the page of a template below mtx/, which extends `pages/page.html.j2`. No text can become markup.

    The page may load nothing, and run no script but the template's own.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mtx", "."),
        autoescape=True,
        # Control characters are escaped in all that is printed, except in markup that the template made itself.
        finalize=lambda value: escape_controls(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"json": to_json, "sha256": _sha256}
    return environment


def to_json(value: Any) -> "Markup":
    """JSON to stand between script tags."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def _sha256(script: str) -> str:
    """The hash of a script by which a content security policy permits it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
