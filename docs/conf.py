"""How the documentation is built: see the Makefile."""

import os
import sys
import tomllib
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import _reference  # noqa: E402
import _rooms  # noqa: E402

import sklearn_dropout  # noqa: E402

PYPROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PYPROJECT["project"].get("urls", {}).get("Repository")  # none yet

_reference.link_representations()
_reference.keep_descriptions()
QUICK = os.environ.get("QUICK", "0") not in ("", "0")

project = "sklearn-dropout"
author = "The sklearn-dropout developers"
copyright = "The sklearn-dropout developers"
version = release = sklearn_dropout.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
source_suffix = {".rst": "restructuredtext"}  # CHANGES.md is included
default_role = "literal"
nitpicky = False

autosummary_generate = True
autosummary_context = {"methods_of": _reference.methods_of}
suppress_warnings = ["config.cache"]  # of this function, which cannot be kept
autodoc_typehints = "none"  # types are in the docstrings
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = "sklearn-dropout"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
WITHOUT_SIDEBAR = "index", "install", "benchmarks", "reliability", "how_it_works", "changes"
html_sidebars = {page: [] for page in WITHOUT_SIDEBAR}
html_theme_options = {
    "logo": {"text": f"sklearn-dropout {version}"},
    "header_links_before_dropdown": 5,
    "show_prev_next": False,
    "navigation_with_keys": False,
}
if QUICK:
    html_theme_options["announcement"] = (
        "The examples on this site ran in their short versions, whose numbers mean nothing."
    )
if REPOSITORY:
    owner, repository = REPOSITORY.rstrip("/").split("/")[-2:]
    html_context |= {"github_user": owner, "github_repo": repository}
    html_context |= {"github_version": "main", "doc_path": "docs"}
    html_theme_options |= {"github_url": REPOSITORY, "use_edit_page_button": True}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "api/backreferences",
    "doc_module": ("sklearn_dropout",),
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "remove_config_comments": True,
    "copyfile_regex": r"index\.rst",  # the sections of the gallery
    "show_signature": False,
}
warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")

_reference.write(HERE / "api.rst")
_rooms.write(HERE / "_static" / "rooms.svg")


def setup(app):
    """Connect what Sphinx asks for while it builds."""
    _reference.link_representations()
    app.connect("autodoc-skip-member", _reference.skip)
    app.connect("autodoc-process-docstring", _reference.mark_names_in_shapes, priority=400)
    app.connect("autodoc-process-docstring", _reference.unlink_terms, priority=600)
    app.connect("missing-reference", _reference.link_to_scikit_learn, priority=900)
