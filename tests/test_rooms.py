"""The rooms of the package, and which of them may import which."""

import ast
import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sklearn_dropout"
# A room imports rooms to its right alone, or itself.
ALLOWED = {
    "displays": {"model_selection", "estimators", "fit", "checks", "uncertainty"},
    "model_selection": {"estimators", "fit", "checks", "uncertainty", "nn"},
    "onnx": {"estimators", "nn"},
    "preprocessing": {"checks"},
    "estimators": {"fit", "checks", "uncertainty", "perceptron", "nn", "dropout"},
    "fit": {"checks", "perceptron", "nn", "dropout"},
    "checks": {"nn", "dropout"},
    "uncertainty": set(),
    "perceptron": {"dropout"},
    "nn": {"dropout"},
    "dropout": set(),
}
WITHOUT_SCIKIT_LEARN = {"dropout", "nn", "perceptron"}


spec = importlib.util.spec_from_file_location("rooms", ROOT / "docs" / "_rooms.py")
rooms = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rooms)


def test_arrows_between_rooms_have_one_direction():
    found = rooms.arrows()
    wrong = {(room, other) for room, other in found if other not in ALLOWED[room]}
    assert wrong == rooms.EXCEPTIONS
    assert ("estimators", "fit") in found


def test_every_room_says_what_it_is_about():
    names = {room for room, _ in rooms.files()}
    assert names <= set(ALLOWED)
    for room in names:
        assert ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8")))
        assert len(list((PACKAGE / room).glob("*.py"))) <= 17, f"{room} is full"
    assert len(list(PACKAGE.glob("*.py"))) <= 4


def test_engines_do_without_scikit_learn():
    for room, path in rooms.files():
        if room in WITHOUT_SCIKIT_LEARN:
            modules = {module.partition(".")[0] for module, _ in rooms.imports(path)}
            assert not modules & {"sklearn", "skorch"}, path


def test_private_names_of_scikit_learn_are_imported_in_one_file():
    """They may change with any release."""
    private = {
        path.name
        for _, path in rooms.files()
        for module, name in rooms.imports(path)
        if module.startswith("sklearn.") and "._" in f"{module}.{name}"
    }
    assert private == {"validation.py"}


def test_the_picture_has_every_room_and_no_arrow_upwards():
    floors = rooms.floors(rooms.arrows() - rooms.EXCEPTIONS)
    assert sorted(room for floor in floors for room in floor) == sorted(ALLOWED)
    assert floors[-1] == ["dropout", "uncertainty"]
    drawn = rooms.picture()
    assert all(f">{room}</text>" in drawn for room in ALLOWED)
