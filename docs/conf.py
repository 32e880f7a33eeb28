"""How Sphinx builds the documentation; every page is Markdown, and nothing is loaded from the network."""

project = "satisfice"
author = "The satisfice authors"
copyright = "2026, The satisfice authors"  # noqa: A001 - Sphinx's name
extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "satisfice"
html_copy_source = False
