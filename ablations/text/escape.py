"""Text from records, sweeps, leases and W&B, made safe for one medium each.

Such text may hold anything: terminal commands, markup, line breaks, formulas. Everything that is
shown to a user passes the function of its medium, once.
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
    r"""Text with nothing that a terminal obeys: ``\n``, ``\x07`` and ``\u202e`` are spelled out.

    Codes that colour text or move the cursor are dropped. Letters of all scripts and spaces stay;
    control characters, overrides of the writing direction, lone surrogates and other characters
    that are not printable do not.

    Args:
        text: Any text.
        lines: Whether line breaks and tabs are kept: for text that has lines of its own.
    """
    told = str(text)
    if told.isprintable():
        return told
    told = _CODES.sub("", told)
    if lines:
        told = told.replace("\r\n", "\n")
    return told.translate(_LINES if lines else _LINE)


_CODES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # control sequences of ECMA-48


class _Spelling(dict[int, str]):
    """What stands for each character, by its number; filled as they come."""

    def __missing__(self, number: int) -> str:
        letter = chr(number)
        plain = letter.isprintable() or unicodedata.category(letter) == "Zs"
        self[number] = letter if plain else letter.encode("unicode_escape").decode()
        return self[number]


_LINE, _LINES = _Spelling(), _Spelling({ord("\n"): "\n", ord("\t"): "\t"})


def rich_text(text: object, lines: bool = False) -> Text:
    """Text for rich, which reads square brackets in a ``str`` as markup; as ``terminal``."""
    from rich.text import Text

    return Text(terminal(text, lines))


def shorten(text: str, most: int = LONGEST) -> str:
    """Text of at most so many characters; what is too long loses its middle."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def _by_piece(text: str, words: Callable[[str], str], code: Callable[[str], str]) -> str:
    """Text with what stands between two backticks given to ``code``, the rest to ``words``."""
    pieces = re.split("(`[^`]+`)", text)
    return "".join((code if n % 2 else words)(piece) for n, piece in enumerate(pieces))


def markdown(text: object, cell: bool = True) -> str:
    """Text as GitHub's Markdown shows it on one line; what stands between backticks is code.

    Args:
        text: Any text.
        cell: Whether it stands in a table, where a bar ends the cell, also one within code.
    """
    made = _by_piece(terminal(text), lambda words: _MARKDOWN.sub(r"\\\g<0>", words), str)
    if cell:
        return made.replace("|", r"\|")
    return escape_line_start(made.strip())


def escape_line_start(text: str) -> str:
    """Markdown that begins a line, without the list, heading or quotation that it would be."""
    return re.sub(r"^(\d*)([#>=]|[+-](?=\s|$|-)|(?<=\d)[.)])", r"\1\\\2", text)


# What Markdown reads within a line. An underscore within a word and a square bracket without a
# target are text to it.
_MARKDOWN = re.compile(
    r"[\\`*~$]|(?<![^\W_])_|_(?![^\W_])|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[:])|\[(?=[ xX]\])"
)


def latex(text: object) -> str:
    """Text as LaTeX shows it; what stands between backticks is a command, to be copied."""
    told = unicodedata.normalize("NFC", terminal(text))
    made = _by_piece(told, lambda words: _TOKEN.sub(_token, words), _typed)
    # After the end of a row of a table a bracket or star would be an argument.
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


# What pdflatex sets without further packages: these letters, and Latin ones under these accents.
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
    """Code as it must be typed: two hyphens are no dash, and quotes are straight."""
    special = {"-": "{-}", "'": r"\textquotesingle{}"}
    return rf"\texttt{{{''.join(special.get(each) or _letter(each) for each in piece[1:-1])}}}"


def html(text: object) -> Markup:
    """Text within an element or attribute of HTML; lines of its own are kept."""
    return text if isinstance(text, Markup) else markupsafe.escape(terminal(text, lines=True))


def svg(text: object) -> str:
    """Text that XML may hold, for a library that escapes what XML reads."""
    return terminal(text)


def plot(text: object) -> str:
    """Text for matplotlib, on one line and of glyphs that its own font has."""
    told = terminal(text)
    if told.isascii():
        return told
    known = _glyphs()
    return "".join(each if ord(each) in known else f"U+{ord(each):04X}" for each in told)


@functools.cache
def _glyphs() -> frozenset[int]:
    """The characters that DejaVu Sans has in both of its weights."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    fonts = (FontProperties(family="DejaVu Sans", weight=weight) for weight in ("normal", "bold"))
    return frozenset.intersection(*(frozenset(get_font(findfont(f)).get_charmap()) for f in fonts))


def csv_cell(value: Any) -> Any:
    """A value of CSV: text that a spreadsheet program would compute begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    told = terminal(value)
    return f"'{told}" if _FORMULA.match(told) and not _NUMBER.fullmatch(told) else told


_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE | re.ASCII)


def csv(frame: pd.DataFrame) -> str:
    """A frame as CSV without its index; its numbers stay numbers."""
    import pandas as pd

    safe = frame.copy()
    for column in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[column]):
            safe[column] = pd.Series([*map(csv_cell, safe[column])], safe.index, dtype=object)
    return safe.rename(columns=csv_cell).to_csv(index=False)
