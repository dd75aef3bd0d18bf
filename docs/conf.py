"""Sphinx builds the documentation with this: ``make docs``. Nothing is fetched from elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docs_settings")
django.setup()

from importlib.metadata import version as version_of  # noqa: E402

project = "django-queued-storage"
author = "django-queued-storage contributors"
copyright = author  # noqa: A001 - Sphinx's name for it
release = version_of("django-queued-storage")
version = ".".join(release.split(".")[:2])

extensions = ["sphinx.ext.autodoc", "queued_reference"]
exclude_patterns = ["_build", "reference/storages-matrix.rst"]
default_role = None
highlight_language = "python"

# Curly quotes and dots, and no dashes: "--" is an option that people copy.
smartquotes_action = "qe"

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["own.css"]
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Every reference of the pages must lead somewhere. What signatures name (Django's, Python's and pydantic's classes, and
# this package's own that have no page) is documented elsewhere, and not looked up there: a build contacts nobody.
nitpicky = True
nitpick_ignore_regex = [(r"py:(class|data|obj|exc|attr)", r".*")]

# For "make linkcheck": nothing but the pages' own links is looked at without a network.
linkcheck_ignore = [r"https?://(127\.0\.0\.1|localhost).*"]
