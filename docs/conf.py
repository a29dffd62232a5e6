"""Sphinx settings of the docs site: ``make docs`` (docs/decisions/0021-sphinx-builds-the-docs.md).

The root of the repository is the source folder, so that the pages' relative links work as they do on a code host.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs/_site")]

import relay  # noqa: E402

project = "relay"
author = "The relay authors"
version = release = relay.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "navigation", "api_pages"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "benchmarks/README.md", "exps/README.md"]
exclude_patterns = [".*", "build", "dist", "**/__pycache__"]
highlight_language = "text"
# JSON on the pages leaves parts out (…); a type of one name in two rooms, as Text, is linked to one of them.
suppress_warnings = ["misc.highlighting_failure", "ref.python"]
smartquotes_action = "D"  # dashes, but quotes as they are written
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"relay {version}"
html_extra_path = ["_site/index.html"]
html_copy_source = False
html_show_copyright = False
