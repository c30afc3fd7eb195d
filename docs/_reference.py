"""The API reference: which names, which members, and links to scikit-learn's."""

import importlib
import re

import sklearn_dropout
from sklearn_dropout.estimators.base import DropoutNetwork

# A name appears once the package has it, so a page never promises what is not there.
SECTIONS = {
    "Estimators": [
        "DropoutMLPClassifier",
        "DropoutMLPRegressor",
        "DropoutCNNClassifier",
        "DropoutCNNRegressor",
        "DropoutRNNClassifier",
        "DropoutRNNRegressor",
        "DropoutEnsembleClassifier",
        "DropoutEnsembleRegressor",
    ],
    "Model selection": [
        "DropoutSearchCV",
        "DropoutRandomizedSearchCV",
        "compare_overfitting",
        "OverfittingComparison",
    ],
    "Uncertainty": ["Uncertainty", "predictive_log_likelihood"],
    "Displays": [
        "TrainingHistoryDisplay",
        "DropoutRateDisplay",
        "OverfittingDisplay",
        "IntervalCoverageDisplay",
        "LearningRateDisplay",
    ],
    "Preprocessing": [
        "preprocessing.PiecewiseLinearEncoder",
        "preprocessing.group_columns_by_source",
    ],
    "Layers": [],  # all of sklearn_dropout.nn
    "ONNX": ["onnx.register"],
}

INTRODUCTION = """.. This page is written by _reference.py.

API reference
=============

Everything is importable from ``sklearn_dropout``; layers from ``sklearn_dropout.nn``.
"""

# scikit-learn documents these.
FROM_SCIKIT_LEARN = {"get_metadata_routing", "get_params", "set_params"}


def exists(name):
    """Whether the package has a name, such as ``nn.Dropout``."""
    folder, _, last = name.rpartition(".")
    return hasattr(importlib.import_module(f"sklearn_dropout.{folder}".rstrip(".")), last)


def sections():
    """Section to full names of what there is."""
    names = {
        section: [f"sklearn_dropout.{name}" for name in names if exists(name)]
        for section, names in SECTIONS.items()
    }
    names["Layers"] = [f"sklearn_dropout.nn.{name}" for name in sklearn_dropout.nn.__all__]
    return names


def write(path):
    """Write the page, after a look at whether it is complete."""
    listed = {name.rpartition(".")[2] for names in sections().values() for name in names}
    missing = set(sklearn_dropout.__all__) - listed
    if missing:
        raise ValueError(f"Add {sorted(missing)} to SECTIONS in docs/_reference.py.")
    parts = [INTRODUCTION]
    for section, names in sections().items():
        if names:
            parts.append(f"{section}\n{'-' * len(section)}\n\n.. autosummary::\n   :toctree: api\n")
            parts.append("".join(f"   {name}\n" for name in names))
    text = "\n".join(parts)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def skip(app, what, name, member, skip, options):
    """Whether to leave a member of a class out: what is PyTorch's, private or about parameters."""
    return skip or not shown(name, member)


def shown(name, member):
    """Whether a page describes a member of its class."""
    if name.startswith("_") or name in FROM_SCIKIT_LEARN:
        return False
    function = getattr(member, "fget", member)
    module = getattr(function, "__module__", None) or ""
    return module.startswith(("sklearn_dropout", "sklearn."))


def methods_of(module, name):
    """Methods of a class that its page describes, for the table at its beginning."""
    kind = getattr(importlib.import_module(module), name)
    members = ((method, getattr(kind, method)) for method in sorted(dir(kind)))
    return [method for method, member in members if callable(member) and shown(method, member)]


def keep_descriptions():
    """Describe attributes as the docstring of the class does; numpydoc takes the property's."""
    from numpydoc.docscrape_sphinx import SphinxDocString

    process = SphinxDocString._process_param

    def process_param(self, name, description, summarise):
        return process(self, name, description, summarise and not any(description))

    SphinxDocString._process_param = process_param


def mark_names_in_shapes(app, what, name, obj, options, lines):
    """Put ``n_features_in_`` of a shape in backticks; bare, it would be a link to nowhere."""
    for place, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            line = re.sub(r"\([^()`]*\)", _mark_attributes, line)
            lines[place] = line


def _mark_attributes(match):
    return re.sub(r"\b([a-z]\w*_)(?=[,)])", r"`\1`", match[0])


def unlink_terms(app, what, name, obj, options, lines):
    """Links into scikit-learn's guide, in docstrings that come from there, become plain words."""

    def plain(match):
        return f"`{match[1]}`" if match[1].endswith("_") else match[1]

    link = re.compile(r":(?:term|ref):`([^`<]+?)(?: *<[^`]*>)?`")
    lines[:] = [link.sub(plain, line) for line in lines]


def link_to_scikit_learn(app, env, node, contnode):
    """Link to scikit-learn's pages by their names, without a look at the network."""
    from docutils import nodes

    target = node.get("reftarget", "")
    parts = target.split(".")
    if parts[0] != "sklearn" or node.get("reftype") not in ("class", "func", "meth", "obj"):
        return None
    page = ".".join(parts[:3]) if len(parts) > 3 else target
    uri = f"https://scikit-learn.org/stable/modules/generated/{page}.html"
    return nodes.reference("", "", contnode, internal=False, refuri=uri)


def link_representations():
    """Let HTML representations of estimators in the gallery link to their pages."""
    for kind in (DropoutNetwork, sklearn_dropout.DropoutSearchCV):
        kind._doc_link_module = "sklearn_dropout"
        kind._doc_link_template = "../api/sklearn_dropout.{estimator_name}.html"
