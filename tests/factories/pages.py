"""Hostile text, and pages read back by a parser."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = ["<script>alert(1)</script>", "\"&' onload=x", "{{x}} **b** `c`", "</td></table>", "&lt;"]


class Cells(HTMLParser):
    """The text of a page and of its cells as a browser has it, and all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.unseen, self.inside = 0, False
        self.text = ""
        self.feed(text)
        self.rows = [[cell.strip() for cell in row] for row in self.rows]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True
        self.unseen += tag in ("svg", "style", "script")

    def handle_endtag(self, tag):
        self.unseen -= tag in ("svg", "style", "script")
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        self.text += "" if self.unseen else data
        if self.inside and not self.unseen:
            self.rows[-1][-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)
