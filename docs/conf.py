"""Sphinx configuration: `sphinx-build -W --keep-going docs docs/_build/html`."""

import os
import sys
from pathlib import Path

import jupytext
import nbformat

import tinygrad_batch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
# Tutorials run in a kernel of their own, in their own directory; what they save goes nowhere else.
os.environ["PYTHONWARNINGS"] = "error:::tinygrad_batch"
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"

project = "tinygrad_batch"
author = "the tinygrad_batch maintainers"
copyright = "the tinygrad_batch maintainers, MIT licence"
version = release = tinygrad_batch.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "derivative_table",
]
exclude_patterns = ["_build", "_extensions", "**.ipynb_checkpoints"]
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # `sum` is an operation and a method: either link will do
add_module_names = False
toc_object_entries_show_parents = "hide"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the types are in the docstrings, in the reader's words
numpydoc_show_class_members = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_code_prompt_show = "The program that made the picture"
nb_code_prompt_hide = "Hide the program"
nb_execution_show_tb = True

html_theme = "furo"
html_title = "tinygrad_batch"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#00609c", "color-brand-content": "#00609c"},
    "dark_css_variables": {"color-brand-primary": "#7cc4f0", "color-brand-content": "#7cc4f0"},
}


def as_notebooks() -> None:
    """Turn the tutorials, which are plain scripts, into the notebooks that the pages are made of."""
    target = HERE / "tutorials"
    target.mkdir(exist_ok=True)
    scripts = sorted((HERE.parent / "tutorials").glob("[0-9]*.py"))
    for old in target.glob("*.ipynb"):
        if old.stem not in {script.stem for script in scripts}:
            old.unlink()
    for script in scripts:
        notebook = jupytext.read(script, fmt="py:percent")
        for number, cell in enumerate(notebook.cells):
            cell["id"] = f"cell-{number}"  # the same file on every run
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        text = nbformat.writes(notebook)
        path = target / f"{script.stem}.ipynb"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


as_notebooks()
