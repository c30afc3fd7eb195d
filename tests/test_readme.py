"""The README keeps its promises."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def python_blocks():
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", python_blocks(), ids=lambda code: code.splitlines()[-1])
def test_examples_run(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_first_example_fits_on_a_screen():
    assert len(python_blocks()[0].strip().splitlines()) <= 15


def test_extras_in_the_commands_exist():
    extras = set(re.findall(r"\.\[([a-z,]+)\]", README))
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert extras
    assert extras <= set(pyproject["project"]["optional-dependencies"])


def test_the_figure_is_there():
    figures = re.findall(r"!\[.*?\]\((?!https)(.*?)\)", README)  # badges are elsewhere
    assert figures
    assert all((ROOT / figure).is_file() for figure in figures)
