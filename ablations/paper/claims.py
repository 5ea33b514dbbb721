"""What the paper claims of its ablations: ``paper/claims.csv``, and how each line of it is read.

The file has the paper's words and numbers, shipped as given. Whether a line claims above, below or
the same is read from them: ``READINGS``, each with the words that say so.

The margin of "the same" is 0.5 points: the paper calls what pool size 9 loses a drop (0.5 in its
text, 0.4 by its table), and what pool size 7 loses (0.1) similar. It is fixed before any record is
seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ablations.paper import csv_schema, published
from ablations.paper.csv_schema import Line, Number, Sheet, quoted
from ablations.paper.published import BASELINE, NAME, NOTE, PERCENT, POINTS

FILE = "claims.csv"
ABOVE, BELOW, WITHIN = "above", "below", "within"
MARGIN = 0.5  # points
ROUNDED = 0.051  # two rounded values differ by this much from their rounded difference

# What a claim says, and the words or numbers that say it.
READINGS: dict[int, tuple[str, str]] = {
    1: (BELOW, '"still reaches 74.3", of 77.2'),
    2: (ABOVE, "its text: 1.5 above identity"),
    3: (BELOW, "its Table 5"),
    4: (ABOVE, "its text: 0.9 above pooling"),
    5: (WITHIN, '"similar"'),
    6: (WITHIN, '"similar"'),
    7: (BELOW, "its text: a drop of 0.5"),
    8: (ABOVE, "its text: 0.7 above LayerNorm"),
    9: (ABOVE, "its text: 0.8 above BatchNorm"),
    10: (BELOW, "its text: 46.1"),
    11: (BELOW, "its text: 0.8 below GELU"),
    12: (WITHIN, '"almost the same"'),
    13: (BELOW, "does not converge"),
    14: (BELOW, "does not converge"),
    15: (ABOVE, "its Table 5"),
    16: (ABOVE, "its text: 81.0"),
    17: (ABOVE, "its Table 5"),
    18: (ABOVE, "its Table 5"),
}
# The file's other claims: other people's models, COCO and ADE20K, longer training, speed.
OTHER_CLAIMS = range(19, 35)

# What claims.csv calls a row -> what ablation.csv calls it.
ROWS = {
    "pooling baseline": BASELINE,
    "pool size 3": BASELINE,
    "GroupNorm(1)/MLN": BASELINE,
    "GELU": BASELINE,
    "identity token mixer": "Pooling -> Identity mapping",
    "identity": "Pooling -> Identity mapping",
    "global random matrix": "Pooling -> Global random matrix",
    "depthwise convolution": "Pooling -> Depthwise convolution",
    "pool size 5": "Pooling size 3 -> 5",
    "pool size 7": "Pooling size 3 -> 7",
    "pool size 9": "Pooling size 3 -> 9",
    "LayerNorm": "Modified LayerNorm -> LayerNorm",
    "BatchNorm": "Modified LayerNorm -> BatchNorm",
    "no normalization": "Modified LayerNorm -> None",
    "ReLU": "GELU -> ReLU",
    "SiLU": "GELU -> SiLU",
    "no residual connection": "Residual connection -> None",
    "no channel MLP": "Channel MLP -> None",
    "hybrid [P,P,P,A]": "[Pool,Pool,Pool,Attention]",
    "hybrid [P,P,A,A]": "[Pool,Pool,Attention,Attention]",
    "hybrid [P,P,P,FC]": "[Pool,Pool,Pool,SpatialFC]",
    "hybrid [P,P,FC,FC]": "[Pool,Pool,SpatialFC,SpatialFC]",
}
METRIC = "ImageNet-1K top-1"
NUMBERS = {
    "value": PERCENT,
    "reference_value": PERCENT,
    "stated_delta": POINTS,
    "delta_from_tables": POINTS,
}
SHEET = Sheet(
    {
        "id": Number(1, OTHER_CLAIMS[-1], whole=True),
        "subject": NAME,
        "comparison": NAME,
        "metric": NAME,
        **dict.fromkeys(NUMBERS, NOTE),  # the other claims have words there, too
    },
    key=("id",),
)


@dataclass(frozen=True)
class Claim:
    """What the paper says of two rows of its ablation table, ImageNet-1K top-1.

    Args:
        id: Its number in claims.csv.
        subject: The row it is about, in the file's words.
        comparison: The row that one is compared with.
        kind: above, below or within (the margin of).
        evidence: The words or numbers of the paper that say so.
        subject_top1: The subject's top-1 in percent.
        comparison_top1: The comparison's.
        difference: Between them in points, by the paper's table.
        stated_difference: The same as its text has it.
        margin: In points, where the kind is within.
    """

    id: int
    subject: str
    comparison: str
    kind: str
    evidence: str
    subject_top1: float
    comparison_top1: float
    difference: float
    stated_difference: float
    margin: float | None = None

    @property
    def variants(self) -> tuple[str, str]:
        """Subject and comparison as the paper's ablation table calls them."""
        return ROWS[self.subject], ROWS[self.comparison]

    @property
    def summary(self) -> str:
        """The claim in a few words."""
        relation = self.kind if self.margin is None else f"within {self.margin:g} of"
        return f"{self.subject} {relation} {self.comparison}"


def load_claims(path: Path | None = None) -> tuple[list[Claim], list[str]]:
    """The claims on ablations by id, and a line for each that is left out.

    Args:
        path: The file; the shipped one, if None. One that cannot be read is told, too.
    """
    path = path or published.PAPER_DIR / FILE
    lines, problems = csv_schema.read(path, SHEET)
    broken = sum(problem.startswith(f"{path}, line ") for problem in problems)
    if broken < len(problems):
        return [], problems  # the file as a whole is not what it must be
    ids = {line.values["id"] for line in lines}
    gone = [str(own) for own in (*READINGS, *OTHER_CLAIMS) if own not in ids]
    if len(gone) > broken:  # else what lacks is a line that is told already
        problems.append(f"{path} has no claim {', '.join(gone)}")
    found: list[Claim] = []
    for line in lines:
        if line.values["id"] in READINGS:
            try:
                found.append(_claim(line))
            except _NonsenseError as problem:
                problems.append(f"{line.place}: {problem}")
    return sorted(found, key=lambda claim: claim.id), problems


class _NonsenseError(ValueError):
    """Why a line of the file cannot be used."""


def _claim(line: Line) -> Claim:
    cells = line.values
    kind, reading = READINGS[cells["id"]]
    for name in ("subject", "comparison"):
        if cells[name] not in ROWS:
            raise _NonsenseError(
                f"{name} {quoted(cells[name])} is no row of the paper's ablation table"
            )
    if ROWS[cells["subject"]] == ROWS[cells["comparison"]]:
        raise _NonsenseError(f"{cells['subject']} is {cells['comparison']}: nothing is compared")
    if cells["metric"] != METRIC:
        raise _NonsenseError(f"metric {quoted(cells['metric'])} is not {METRIC}")
    value, reference, stated, difference = (_number(name, cells[name]) for name in NUMBERS)
    claim = Claim(
        cells["id"],
        cells["subject"],
        cells["comparison"],
        kind,
        reading,
        value,
        reference,
        difference,
        stated,
        MARGIN if kind == WITHIN else None,
    )
    known = published.ablation_rows()
    for name, top1, variant in zip(NUMBERS, (value, reference), claim.variants, strict=False):
        if variant in known and known[variant].top1 != top1:
            raise _NonsenseError(f"{name} {top1:g}, but {variant} has {known[variant].top1:g}")
    for name, found in (("delta_from_tables", difference), ("stated_delta", stated)):
        # Text and tables round apart: pool size 9 loses 0.5 in the text and 0.4 in the table.
        slack = ROUNDED if name == "delta_from_tables" else 2 * ROUNDED
        if abs(value - reference - found) > slack:
            raise _NonsenseError(f"{name} {found:g}, but {value:g} - {reference:g} is another")
    wrong = {ABOVE: difference <= 0, BELOW: difference >= 0, WITHIN: abs(difference) >= MARGIN}
    if wrong[kind]:
        raise _NonsenseError(f"the paper says {claim.summary}, not {difference:+g}")
    return claim


def _number(name: str, text: str) -> float:
    try:
        found = NUMBERS[name](text)
    except ValueError as valid:
        raise _NonsenseError(f"{name} {quoted(text)} must be {valid}") from valid
    assert found is not None  # none of them may be empty
    return found
