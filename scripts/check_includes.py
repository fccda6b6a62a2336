#!/usr/bin/env python3
"""Checks that the rooms of mcci/ include only what the house allows.

The table of who may include whom is the ROOMS list of each mcci/<room>/CMakeLists.txt and nothing else; a room
also sees what its rooms see. On top of the table stand the rules below, which no ROOMS list may undo.
docs/architecture.md shows the table to people and must agree with it.

    check_includes.py [ROOT]    prints one line for each breach, and exits 1 if there is any
"""

import re
import sys
from pathlib import Path

# The threat model: the truth about poison is out of reach of everything that learns or defends.
MAY_SEE_ATTACKS = {"attacks", "suite", "cli"}
# Rooms without tensors: they stay quick to compile and easy to reuse.
WITHOUT_TORCH = {"core", "imageio", "report"}

TORCH_HEADER = re.compile(r"^(torch|ATen|c10|caffe2)/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')
KEYWORDS = {"SOURCES", "ROOMS", "PUBLIC", "PRIVATE"}


def read_cmake(path):
    return re.sub(r"#.*", "", path.read_text(encoding="utf-8"))


def declared_rooms(cmake_text):
    """The ROOMS of mcci_room(...), or None if the text declares no room."""
    call = re.search(r"\bmcci_room\s*\(([^)]*)\)", cmake_text)
    if not call:
        return None
    rooms, section = set(), None
    for word in call.group(1).split()[1:]:
        if word in KEYWORDS:
            section = word
        elif section == "ROOMS":
            rooms.add(word)
    return rooms


def closure(room, table):
    """Every room that `room` may include: itself, its ROOMS, and theirs."""
    seen, todo = set(), [room]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(table.get(name, ()))
    return seen


def read_house(root):
    """The rooms, lowest first; room -> its ROOMS; and what is wrong with them."""
    order = re.findall(r"add_subdirectory\(\s*mcci/(\w+)\s*\)", read_cmake(root / "CMakeLists.txt"))
    table, breaches = {}, []
    for room in order:
        if room == "cli":  # main sees the whole house
            table[room] = set(order)
            continue
        file = f"mcci/{room}/CMakeLists.txt"
        rooms = declared_rooms(read_cmake(root / file))
        if rooms is None:
            breaches.append(f"{file}: no mcci_room()")
        table[room] = rooms or set()
        for other in sorted(table[room]):
            if other not in order:
                breaches.append(f"{file}: unknown room '{other}'")
            elif order.index(other) >= order.index(room):
                breaches.append(f"{file}: '{other}' is not below '{room}' in the list of CMakeLists.txt")
    for folder in sorted(p.name for p in (root / "mcci").iterdir() if p.is_dir()):
        if folder not in order:
            breaches.append(f"mcci/{folder}: no add_subdirectory(mcci/{folder}) in CMakeLists.txt")
    return order, table, breaches


def check_document(order, table, markdown):
    """The table of rooms: first column in order, last column the ROOMS."""
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| *([^|]*?) *\|$", markdown, re.MULTILINE))
    if list(rows) != order:
        yield f"docs/architecture.md: the rooms in order are {', '.join(order)}"
    for room in order:
        column = ", ".join(r for r in order if r in table[room])
        if room != "cli" and rows.get(room, column) != column:
            yield f"docs/architecture.md: the last column of '{room}' should read '{column}'"


def check_reach(order, table):
    """The rules that stand above the ROOMS lists."""
    for room in order:
        visible = closure(room, table)
        if "attacks" in visible and room not in MAY_SEE_ATTACKS:
            yield (f"mcci/{room}/CMakeLists.txt: '{room}' reaches 'attacks', which only "
                   f"{', '.join(sorted(MAY_SEE_ATTACKS))} may see")
        if room in WITHOUT_TORCH:
            for other in sorted(visible - WITHOUT_TORCH):
                yield f"mcci/{room}/CMakeLists.txt: '{room}' does without LibTorch but reaches '{other}'"


def check_files(root, order, table):
    for room in order:
        visible = closure(room, table)
        for path in sorted(p for p in (root / "mcci" / room).rglob("*") if p.suffix in {".hpp", ".cpp"}):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                include = INCLUDE.match(line)
                if not include:
                    continue
                bracket, header = include.groups()
                where = f"{path.relative_to(root)}:{number}"
                own = re.match(r"mcci/(\w+)/", header)
                if own and own.group(1) not in visible:
                    allowed = ", ".join(r for r in order if r in visible)
                    yield f"{where}: '{room}' may not include {header}; it may include {allowed}"
                if bool(own) != (bracket == '"'):
                    yield f"{where}: write own headers as \"mcci/<room>/<file>\", others as <...>: {header}"
                if room in WITHOUT_TORCH and TORCH_HEADER.match(header):
                    yield f"{where}: '{room}' does without LibTorch but includes {header}"


def check(root):
    """One line for each breach of the rules below `root`."""
    order, table, breaches = read_house(root)
    document = (root / "docs/architecture.md").read_text(encoding="utf-8")
    return [*breaches, *check_document(order, table, document), *check_reach(order, table),
            *check_files(root, order, table)]


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    breaches = check(root)
    print("\n".join(breaches) if breaches else "include rules: kept")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
