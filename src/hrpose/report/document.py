"""The frame of every HTML page: self-contained, without scripts, for screens light and dark and for paper."""

from __future__ import annotations

from html import escape
from importlib.resources import files


def html_document(title: str, body: str) -> str:
    """Return an HTML document, which refers to no other file or address.

    Args:
        title: of the window; it is escaped.
        body: HTML.
    """
    style = files("hrpose.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
