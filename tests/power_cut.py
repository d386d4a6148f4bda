"""Every tree that a power cut may leave behind: the changes are recorded, then replayed by the rules of a disk.

    Recorder (a device.durable.Files) -> list[Change] -> crash_trees -> {path: content} ...

The rule is "only what was fsynced is certain". The content of a file is certain after a sync of that file; before, it
may be empty, torn or whole. A change of a folder's entries (create, rename, symlink, remove) is certain after a sync of
every folder that it touches; before, any subset of such changes may have happened, whatever their order in time, but
each of them wholly or not at all. This is stricter than ext4, which orders more than it promises (ALICE, OSDI'14).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from pathlib import Path

from device.durable import Files

Content = bytes | str | None
"""Of a file, target of a symlink, or None for a folder."""

Tree = dict[str, Content]
"""Path below the root -> what is there."""

MOST_OPEN = 14
"""More changes at once than this, and their subsets can no longer be counted: the code syncs too rarely."""


@dataclass(frozen=True, slots=True)
class Change:
    """One call of `Files`: its name, the path, and what else it was given."""

    kind: str
    path: str
    other: str = ""
    data: bytes = b""


class Recorder(Files):
    """Makes the changes and keeps them, with paths below a root; syncs are kept and cost nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[Change] = []

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self._keep("make_folder", path)

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        data = b"".join(chunks)
        super().write(path, [data])
        self.log.append(Change("write", self._below(path), data=data))

    def sync(self, path: Path) -> None:
        assert path.exists()
        self._keep("sync", path)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self._keep("rename", old, self._below(new))

    def link(self, target: str, path: Path) -> None:
        super().link(target, path)
        self._keep("link", path, target)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._keep("remove", path)

    def _keep(self, kind: str, path: Path, other: str = "") -> None:
        self.log.append(Change(kind, self._below(path), other))

    def _below(self, path: Path) -> str:
        return str(path.relative_to(self.root))


@dataclass(slots=True, eq=False)
class _Node:
    """A file, a symlink or a folder; the same one under whatever name."""

    content: Content
    is_certain: bool = True
    entries: dict[str, "_Node"] = field(default_factory=dict)  # as the running system sees them

    def contents(self) -> tuple[Content, ...]:
        if self.is_certain or not isinstance(self.content, bytes):
            return (self.content,)
        return tuple(dict.fromkeys([b"", self.content[: len(self.content) // 2], self.content]))


@dataclass(slots=True, eq=False)
class _Move:
    """Entries that change together: folder, name, and the node that is there afterwards (None: nothing)."""

    entries: tuple[tuple[_Node, str, _Node | None], ...]
    unsynced: set[int]


class Disk:
    """What is certain, and what may be."""

    def __init__(self) -> None:
        self._root = _Node(None)
        self._moves: list[_Move] = []

    def apply(self, change: Change) -> None:
        """Let one change happen."""
        if change.kind == "sync":
            self._sync(self._find(change.path))
            return
        folder, name = self._place(change.path)
        if change.kind == "rename":
            other, new_name = self._place(change.other)
            self._move((folder, name, None), (other, new_name, folder.entries[name]))
        elif change.kind == "remove":
            self._move((folder, name, None))
        else:
            content = {"make_folder": None, "write": change.data, "link": change.other}[change.kind]
            self._move((folder, name, _Node(content, is_certain=change.kind != "write")))

    def crash_trees(self, *, thorough: bool = True) -> Iterator[Tree]:
        """Every tree that a power cut may leave now; some come more than once.

        Args:
            thorough: otherwise only those where none, one, all, or all but one of the uncertain changes happened.
        """
        reachable = self._reachable()
        open_moves = [
            at
            for at, move in enumerate(self._moves)
            if move.unsynced and any(id(folder) in reachable for folder, _, _ in move.entries)
        ]
        most = len(open_moves)
        assert not thorough or most <= MOST_OPEN, f"{most} changes are open at once"
        certain = {at for at, move in enumerate(self._moves) if not move.unsynced}
        sizes = range(most + 1) if thorough else sorted({0, 1, most - 1, most} & {*range(most + 1)})
        for chosen in chain.from_iterable(combinations(open_moves, size) for size in sizes):
            yield from self._trees(certain.union(chosen))

    def _trees(self, happened: set[int]) -> Iterator[Tree]:
        entries: dict[int, dict[str, _Node | None]] = {}
        for at in sorted(happened):
            for folder, name, node in self._moves[at].entries:
                entries.setdefault(id(folder), {})[name] = node
        nodes: dict[str, _Node] = {}

        def walk(folder: _Node, prefix: str) -> None:
            for name, node in entries.get(id(folder), {}).items():
                if node is not None:
                    nodes[prefix + name] = node
                    walk(node, f"{prefix}{name}/")

        walk(self._root, "")
        for contents in product(*(node.contents() for node in nodes.values())):
            yield dict(zip(nodes, contents, strict=True))

    def _reachable(self) -> set[int]:
        """Folders that may be somewhere in a tree after a power cut."""
        maybe: dict[tuple[int, str], list[_Node | None]] = {}
        for move in self._moves:
            for folder, name, node in move.entries:
                values = maybe.setdefault((id(folder), name), [])
                if not move.unsynced:
                    values.clear()  # whatever came before is overwritten for certain
                values.append(node)
        found: set[int] = set()
        todo = [self._root]
        while todo:
            folder = todo.pop()
            if id(folder) not in found:
                found.add(id(folder))
                todo += [node for (at, _), nodes in maybe.items() if at == id(folder) for node in nodes if node]
        return found

    def _sync(self, node: _Node) -> None:
        node.is_certain = True
        for move in self._moves:
            move.unsynced.discard(id(node))

    def _move(self, *entries: tuple[_Node, str, _Node | None]) -> None:
        for folder, name, node in entries:
            if node is None:
                del folder.entries[name]
            else:
                folder.entries[name] = node
        self._moves.append(_Move(entries, {id(folder) for folder, _, _ in entries}))

    def _find(self, path: str) -> _Node:
        node = self._root
        for name in Path(path).parts:
            node = node.entries[name]
        return node

    def _place(self, path: str) -> tuple[_Node, str]:
        return self._find(str(Path(path).parent)), Path(path).name


def write_tree(tree: Tree, root: Path) -> None:
    """Put a tree onto the real disk, into a folder that is made for it."""
    root.mkdir()
    for name in sorted(tree):
        content = tree[name]
        if content is None:
            (root / name).mkdir()
        elif isinstance(content, str):
            (root / name).symlink_to(content)
        else:
            (root / name).write_bytes(content)
