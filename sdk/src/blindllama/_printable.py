"""Text of strangers, made fit to show: it may come from a server, a certificate or a library."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str, longest: int) -> str:
    """Return the text without what a terminal or a page would obey, at most `longest` characters.

    Control characters, line breaks and marks of writing direction become U+FFFD.
    """
    shown = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(c if c.isprintable() else "�" for c in shown)
