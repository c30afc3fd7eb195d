"""How the documentation is built: see the Makefile."""

import os
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import _gallery  # noqa: E402
import _reference  # noqa: E402

import sklearn_dropout  # noqa: E402

_reference.link_representations()
QUICK = os.environ.get("QUICK", "0") not in ("", "0")

project = "sklearn-dropout"
author = "The sklearn-dropout developers"
copyright = "The sklearn-dropout developers"
version = release = sklearn_dropout.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"
nitpicky = False

autosummary_generate = True
autodoc_typehints = "none"  # types are in the docstrings
autodoc_default_options = {"members": True, "inherited-members": True}
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "sklearn-dropout"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "benchmarks": [], "reliability": []}
html_theme_options = {"show_prev_next": False, "navigation_with_keys": False}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "reset_argv": _gallery.Arguments(HERE / "_build" / "figures", QUICK),
    "backreferences_dir": "api/backreferences",
    "doc_module": ("sklearn_dropout",),
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "remove_config_comments": True,
    "copyfile_regex": "",
}
warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")

_reference.write(HERE / "api.rst")


def setup(app):
    """Connect what Sphinx asks for while it builds."""
    _reference.link_representations()
    app.connect("autodoc-skip-member", _reference.skip)
    app.connect("autodoc-process-docstring", _reference.mark_names_in_shapes, priority=400)
    app.connect("autodoc-process-docstring", _reference.unlink_terms, priority=600)
    app.connect("missing-reference", _reference.link_to_scikit_learn, priority=900)
