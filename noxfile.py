#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox"]
# ///
"""Tasks of the project, each in an environment of its own: ``nox -s lint tests``."""

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"

PYPROJECT = nox.project.load_toml("pyproject.toml")
GROUPS = nox.project.dependency_groups
NEWEST = Path("constraints.txt")
OLDEST = Path("constraints-oldest.txt")
BENCHMARKS = [
    "fit",
    "kinds",
    "search",
    "validation",
    "startup",
    "cnn",
    "rnn",
    "uncertainty",
    "coverage",
    "endurance",
]


def install(session, extras, constraints=NEWEST):
    """Install the package as it lies here, with some extras."""
    session.install("-e", f".[{extras}]", "-c", str(constraints))


@nox.session
def lint(session):
    """Style, spelling and types."""
    session.install(*GROUPS(PYPROJECT, "lint"), "-c", str(NEWEST))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("mypy")


@nox.session
def tests(session):
    """All tests but the slow ones; arguments after ``--`` go to pytest."""
    install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def oldest(session):
    """The same with the oldest dependencies."""
    floor = next(line for line in PYPROJECT["project"]["dependencies"] if line.startswith("torch"))
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        pins = OLDEST.read_text(encoding="utf-8").splitlines()
        kept = [pin for pin in pins if not pin.startswith("torch")]
        constraints.write_text("\n".join([*kept, floor.replace(">=", "==")]), encoding="utf-8")
        install(session, "test", constraints)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def extras(session):
    """The slow tests, and those of ONNX, skops and Dask."""
    install(session, "test,dask,persist,onnx")
    session.run("python", "-m", "pytest", "-m", "slow or not slow", *session.posargs)


@nox.session(default=False)
def docs(session):
    """The site, in docs/_build/html; with QUICK=1 from short versions of the examples."""
    install(session, "docs")
    session.run(
        "make", "-C", "docs", "html", f"QUICK={os.environ.get('QUICK', '0')}", external=True
    )


@nox.session(default=False)
def benchmarks(session):
    """Speed beside other tools: ``nox -s benchmarks -- fit cnn``, with ``--quick`` a short run."""
    install(session, "examples")
    names = [name for name in session.posargs if not name.startswith("-")]
    options = [option for option in session.posargs if option.startswith("-")]
    for name in names or BENCHMARKS:
        session.run("python", "-m", f"benchmarks.{name}", *options)


@nox.session(default=False)
def build(session):
    """Wheel and sdist in dist/, their metadata, and the tests from the unpacked sdist."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install("build", "twine")
    session.run("python", "-m", "build")
    files = [str(path) for path in Path("dist").iterdir()]
    session.run("twine", "check", "--strict", *files)
    with tempfile.TemporaryDirectory() as folder:
        (sdist,) = Path("dist").glob("*.tar.gz")
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        with session.chdir(next(Path(folder).iterdir())):
            install(session, "test")
            session.run("python", "-m", "pytest", *session.posargs)


if __name__ == "__main__":
    nox.main()
