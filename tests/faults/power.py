"""Enumerate the states in which a loss of power may leave a disk, after each of a sequence of calls.

Only flushed data is certain: bytes after an fsync of their file, names after an fsync of their folder. Any other file
may be empty, zeros or whole. Any other change of a name (created, moved or removed) may have happened or not, in any
order. Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), do the same to programs from outside.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from pathlib import Path

from tests.faults.calls import Call

State = dict[str, bytes | None]
"""Content of the file at each path below a root; None for a folder."""


@dataclass(eq=False, slots=True)
class _Node:
    """File or folder, as the program sees it and as it is certain to be on the disk."""

    names: "dict[str, _Node] | None" = None
    """Entries of a folder; None for a file."""
    certain_names: "dict[str, _Node]" = field(default_factory=dict)
    data: bytes = b""
    certain_data: bytes = b""


@dataclass(eq=False, slots=True)
class _Change:
    """Change by one call to the names in a folder; None for a removed name."""

    folder: _Node
    names: dict[str, _Node | None]


def states_after(root: Path, before: State, calls: Sequence[Call]) -> Iterator[tuple[int, State]]:
    """Yield (number of calls made, state) for every state of `root` that a loss of power may leave.

    The state `before` the calls is certain to be on the disk."""
    disk = _Disk(root, before)
    for number, call in enumerate([None, *calls]):
        if call is not None:
            disk.make(call)
        for state in disk.states():
            yield number, state


def read_state(root: Path) -> State:
    """Read all files and folders below `root`."""
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def build_state(root: Path, state: State) -> None:
    """Create `root` with the files and folders of `state`."""
    root.mkdir()
    for name, data in sorted(state.items()):
        if data is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(data)


class _Disk:
    def __init__(self, root: Path, before: State) -> None:
        self.root = root
        self.top = _Node(names={})
        self.changes: list[_Change] = []
        for name, data in sorted(before.items()):
            node = _Node(names={}) if data is None else _Node(data=data, certain_data=data)
            folder = self._find(root / name, parent=True)
            assert folder.names is not None
            folder.names[Path(name).name] = folder.certain_names[Path(name).name] = node

    def make(self, call: Call) -> None:
        path = Path(call.path)
        match call.name:
            case "write":
                self._find(path).data += call.data
            case "open":
                self._change(path, {path.name: _Node()})
            case "mkdir":
                self._change(path, {path.name: _Node(names={})})
            case "unlink" | "rmdir":
                self._change(path, {path.name: None})
            case "rename":
                assert path.parent == Path(call.to).parent
                self._change(path, {path.name: None, Path(call.to).name: self._find(path)})
            case "fsync":
                self._flush(self._find(path))

    def states(self) -> Iterator[State]:
        """Yield a state for every choice of uncertain changes, and of the contents of the files that then exist."""
        choices = chain.from_iterable(combinations(self.changes, n) for n in range(len(self.changes) + 1))
        for chosen in choices:
            nodes = dict(self._walk(self.top, "", chosen))
            files = {path: node for path, node in nodes.items() if node.names is None}
            contents = [{n.certain_data, n.data, bytes(len(n.data))} if n.data != n.certain_data else {n.data}
                        for n in files.values()]  # fmt: skip
            for data in product(*contents):
                yield dict.fromkeys(nodes) | dict(zip(files, data, strict=True))

    def _walk(self, folder: _Node, prefix: str, chosen: Sequence[_Change]) -> Iterator[tuple[str, _Node]]:
        names: dict[str, _Node | None] = dict(folder.certain_names)
        for change in chosen:
            if change.folder is folder:
                names |= change.names
        for name, node in names.items():
            if node is not None and ".tmp-" not in name and ".old-" not in name:  # temporary: never read
                yield prefix + name, node
                yield from self._walk(node, f"{prefix}{name}/", chosen)

    def _find(self, path: Path, *, parent: bool = False) -> _Node:
        node = self.top
        parts = path.relative_to(self.root).parts
        for part in parts[:-1] if parent else parts:
            assert node.names is not None
            node = node.names[part]
        return node

    def _change(self, path: Path, names: dict[str, _Node | None]) -> None:
        folder = self._find(path, parent=True)
        assert folder.names is not None
        self.changes.append(_Change(folder, names))
        kept = {**folder.names, **names}
        folder.names = {name: node for name, node in kept.items() if node is not None}

    def _flush(self, node: _Node) -> None:
        node.certain_data = node.data
        if node.names is not None:
            node.certain_names = dict(node.names)
            self.changes = [change for change in self.changes if change.folder is not node]
