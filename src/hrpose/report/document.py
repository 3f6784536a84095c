"""The frame of all HTML pages: self-contained, without scripts, with light and dark colours and a print layout."""

from __future__ import annotations

from html import escape
from importlib.resources import files


def html_document(title: str, body: str) -> str:
    """Return a self-contained HTML document.

    Args:
        title: of the window, not yet escaped.
        body: HTML.
    """
    style = files("hrpose.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
