"""Find docstrings, and comments beside constants, that do not begin with a verb or a noun. Part of `scripts/gate`.

    python scripts/docstrings.py FOLDER …

Forbids "What", "Which", "How", "Of", "Those", "So many" and "So few" as the first words of a docstring, and of the
comment beside a constant or an attribute. Prints FILE:LINE and the first line of
each, and exits with 1 if there are any.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

FORBIDDEN = re.compile(r"(What|Which|How|Of|Those|So many|So few)\b")
DOCUMENTED = (ast.Assign, ast.AnnAssign)


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Find the docstrings of modules, classes, functions, constants and attributes."""
    for node in ast.walk(tree):
        owns_docstring = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for field, statements in ast.iter_fields(node):
            if not isinstance(statements, list):
                continue
            for previous, statement in zip([None, *statements], statements, strict=False):
                is_first = previous is None and owns_docstring and field == "body"
                match statement:
                    case ast.Expr(ast.Constant(str()) as text) if is_first or isinstance(previous, DOCUMENTED):
                        yield text


def comments(text: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Find the comments at the ends of the lines of constants and attributes, with their line numbers."""
    bodies = (node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef))
    lines = {statement.end_lineno for body in bodies for statement in body if isinstance(statement, DOCUMENTED)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.start[0] in lines:
            yield token.start[0], token.string.removeprefix("# ")


def violations(path: Path) -> Iterator[str]:
    """Find the forbidden docstrings and comments of a file, as `FILE:LINE: first line`."""
    source = path.read_text(encoding="utf-8")
    try:
        tree = ast.parse(source, str(path))
    except SyntaxError as error:
        yield f"{path}:{error.lineno}: {error.msg}"
        return
    texts = [(docstring.lineno, str(docstring.value).strip()) for docstring in docstrings(tree)]
    for line, text in sorted([*texts, *comments(source, tree)]):
        if FORBIDDEN.match(text):
            yield f"{path}:{line}: {text.splitlines()[0]}"


def main(folders: list[str]) -> int:
    """Print all violations under `folders`; return the exit code."""
    found = [line for folder in folders for path in sorted(Path(folder).rglob("*.py")) for line in violations(path)]
    print(*found, sep="\n", end="\n" * bool(found))
    if found:
        print("a docstring begins with a verb or a noun: reword these", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
