"""Escaping of text from records, sweeps, leases and W&B: one function per output format.

Such text may contain anything: terminal commands, markup, line breaks, formulas. All output passes
through the function of its format exactly once.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import markupsafe
from markupsafe import Markup

if TYPE_CHECKING:
    import pandas as pd
    from rich.text import Text

LONGEST = 240  # characters of a label in a table


def redact_credentials(text: str) -> str:
    """``https://user:password@host`` -> ``https://***@host``: for messages, logs and records."""
    return _CREDENTIALS.sub(r"\1***@", text) if "://" in text else text


_CREDENTIALS = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^\s/?#'\"]*@")


def terminal(text: object, lines: bool = False) -> str:
    r"""Text without terminal commands: ``\n``, ``\x07`` and ``\u202e`` are spelled out.

    Codes that colour text or move the cursor are dropped. Letters of all scripts and spaces stay.
    Other characters that are not printable are spelled out: control characters, overrides of the
    writing direction, lone surrogates.

    Args:
        text: Any text.
        lines: Whether to keep line breaks and tabs.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    shown = _CODES.sub("", shown)
    if lines:
        shown = shown.replace("\r\n", "\n")
    return shown.translate(_LINES if lines else _LINE)


_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # control sequences of ECMA-48


class _Spelling(dict[int, str]):
    """The replacement of each character, by code point; filled on demand."""

    def __missing__(self, number: int) -> str:
        letter = chr(number)
        plain = letter.isprintable() or unicodedata.category(letter) == "Zs"
        self[number] = letter if plain else letter.encode("unicode_escape").decode()
        return self[number]


_LINE, _LINES = _Spelling(), _Spelling({ord("\n"): "\n", ord("\t"): "\t"})


def rich_text(text: object) -> Text:
    """As ``terminal``, for rich, which reads square brackets in a ``str`` as markup."""
    from rich.text import Text

    return Text(terminal(text))


def shorten(text: str, most: int = LONGEST) -> str:
    """Text cut in the middle to at most ``most`` characters."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def _by_piece(text: str, words: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Apply ``code`` to the parts between backticks and ``words`` to the rest."""
    pieces = re.split("(`[^`]+`)", text)
    return "".join((code if n % 2 else words)(piece) for n, piece in enumerate(pieces))


def markdown(text: object, cell: bool = True) -> str:
    """Text on one line of GitHub's Markdown. Text between backticks is code.

    Args:
        text: Any text.
        cell: Whether it is a table cell, which a bar would end, even within code.
    """
    made = _by_piece(terminal(text), lambda words: _MARKDOWN.sub(r"\\\g<0>", words), str)
    if cell:
        return made.replace("|", r"\|")
    return escape_line_start(made.strip())


def escape_line_start(text: str) -> str:
    """Markdown at the start of a line, escaped so that it starts no list, heading or quotation."""
    return re.sub(r"^(\d*)([#>=]|[+-](?=\s|$|-)|(?<=\d)[.)])", r"\1\\\2", text)


# Markup within a line. An underscore inside a word and a square bracket without a target are text.
_MARKDOWN = re.compile(
    r"[\\`*~$]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[:])|\[(?=[ xX]\])"
)


def latex(text: object) -> str:
    """Text for LaTeX. Text between backticks is a command that readers copy."""
    shown = unicodedata.normalize("NFC", terminal(text))
    made = _by_piece(shown, lambda words: _TOKEN.sub(_token, words), _typed)
    # After the end of a table row, a bracket or a star would be an argument.
    return f"{{{made[0]}}}{made[1:]}" if made[:1] in ("[", "*") else made


_TOKEN = re.compile(r"->|(?P<minus>(?<![^\s\[(,±])-(?=\.?\d))|(?P<hyphen>-(?=-))|.")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    "->": r"$\rightarrow$",
    "→": r"$\rightarrow$",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "–": "--",
    "—": "---",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "ʷ": r"$^w$",
    **{raised: f"$^{digit}$" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}


# Characters that pdflatex supports without packages: these, and Latin letters with these accents.
_LETTERS = frozenset("ÆæŒœØøŁłßı§¶©®°µ¿¡£ªº")
_ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")


def _token(found: re.Match[str]) -> str:
    return {"minus": "$-$", "hyphen": "-{}"}.get(found.lastgroup or "") or _letter(found[0])


def _letter(text: str) -> str:
    if text in _LATEX or text.isascii():
        return _LATEX.get(text, text)
    if unicodedata.category(text) == "Zs":
        return " "
    base, *accents = list(unicodedata.normalize("NFD", text))
    accented = accents and ord(text) < 0x180 and base.isascii() and _ACCENTS.issuperset(accents)
    return text if accented or text in _LETTERS else rf"\texttt{{U+{ord(text):04X}}}"


def _typed(piece: str) -> str:
    """Code, in which two hyphens are not a dash and quotes are straight."""
    special = {"-": "{-}", "'": r"\textquotesingle{}"}
    return rf"\texttt{{{''.join(special.get(each) or _letter(each) for each in piece[1:-1])}}}"


def html(text: object) -> Markup:
    """Text for an HTML element or attribute; line breaks are kept."""
    return text if isinstance(text, Markup) else markupsafe.escape(terminal(text, lines=True))


def svg(text: object) -> str:
    """Text that is valid in XML, for a library that escapes XML's markup."""
    return terminal(text)


def plot(text: object) -> str:
    """Text on one line for matplotlib, with the glyphs of its default font."""
    shown = terminal(text)
    if shown.isascii():
        return shown
    known = _glyphs()
    return "".join(each if ord(each) in known else f"U+{ord(each):04X}" for each in shown)


@functools.cache
def _glyphs() -> frozenset[int]:
    """The characters that DejaVu Sans has in both weights."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = (FontProperties(family="DejaVu Sans", weight=weight) for weight in ("normal", "bold"))
    return frozenset.intersection(*(frozenset(get_font(findfont(f)).get_charmap()) for f in fonts))


def csv_cell(value: Any) -> Any:
    """A value for CSV. Text that a spreadsheet would read as a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    text = terminal(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE | re.ASCII)


def csv(frame: pd.DataFrame) -> str:
    """A DataFrame as CSV without its index. Numbers are not escaped."""
    import pandas as pd

    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = pd.Series([*map(csv_cell, safe[column])], safe.index, dtype=object)
    return safe.rename(columns=csv_cell).to_csv(index=False)
