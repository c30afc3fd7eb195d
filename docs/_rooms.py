"""The rooms of the package and the arrows between them, read from the imports."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "sklearn_dropout"
# `OverfittingComparison.plot` imports its display when it is called.
EXCEPTIONS = {("model_selection", "displays")}
_WIDTH, _HEIGHT, _GAP, _RISE = 150, 44, 90, 80


def imports(path):
    """Absolute names of the modules, and the names, that a file imports."""
    here = ["sklearn_dropout", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) + 1 - node.level] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def files():
    """Each file in a room, with the name of the room."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room, *rest = path.relative_to(PACKAGE).parts
        if rest:
            yield room, path


def arrows():
    """Pairs of rooms of which the first imports the second."""
    return {
        (room, module.split(".")[1])
        for room, path in files()
        for module, _ in imports(path)
        if module.startswith("sklearn_dropout.") and module.split(".")[1] != room
    }


def floors(pairs):
    """Rooms from the top floor to the ground, each right above the highest that it imports."""
    rooms = {room for pair in pairs for room in pair} | {room for room, _ in files()}
    found = []
    while rooms:
        ground = {a for a in rooms if not any(x == a and b in rooms for x, b in pairs)}
        if not ground:
            raise ValueError(f"{sorted(rooms)} import each other.")
        found.append(sorted(ground))
        rooms -= ground
    return found[::-1]


def picture():
    """The rooms as an SVG: an arrow leads from a room to one that it imports.

    Only the arrows that do not follow from others are drawn.
    """
    pairs = arrows() - EXCEPTIONS
    rows = floors(pairs)
    width = max(map(len, rows)) * (_WIDTH + _GAP)
    place = {
        room: (_GAP / 2 + k * (_WIDTH + _GAP), y * _RISE)
        for y, row in enumerate(rows)
        for k, room in enumerate(row)
    }
    shapes = []
    for a, b in sorted(_direct(pairs)):
        (x1, y1), (x2, y2) = place[a], place[b]
        ends = x1 + _WIDTH / 2, y1 + _HEIGHT + 10, x2 + _WIDTH / 2, y2 + 6
        shapes.append(
            '<line x1="{:.0f}" y1="{:.0f}" x2="{:.0f}" y2="{:.0f}" '.format(*ends)
            + 'marker-end="url(#tip)" stroke="#888"/>'
        )
    for room, (x, y) in place.items():
        shapes.append(
            f'<rect x="{x:.0f}" y="{y + 10}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" '
            f'fill="#e8eef7" stroke="#5577aa"/><text x="{x + _WIDTH / 2:.0f}" '
            f'y="{y + 38}" text-anchor="middle" fill="#222">{room}</text>'
        )
    height = len(rows) * _RISE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="15"><defs><marker id="tip" viewBox="0 0 10 10" '
        'refX="9" refY="5" markerWidth="9" markerHeight="9" orient="auto">'
        '<path d="M0 0 10 5 0 10z" fill="#888"/></marker></defs>' + "".join(shapes) + "</svg>\n"
    )


def write(path):
    """Write the picture."""
    path.write_text(picture(), encoding="utf-8")


def _direct(pairs):
    """Arrows that no path over other rooms replaces."""

    def reaches(a, b):
        return any(x == a and (y == b or reaches(y, b)) for x, y in pairs)

    return {
        (a, b) for a, b in pairs if not any(x == a and y != b and reaches(y, b) for x, y in pairs)
    }
