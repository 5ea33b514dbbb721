"""The paper's claims about its ablations: ``claims.csv``, and what each line of it claims.

The file has the paper's words and numbers, as given. Whether a line claims above, below or the same
follows from them; the constant below gives the words that decide it.

The margin of "the same" is 0.5 points: the paper calls the loss of pool size 9 a drop (0.5 in its
text, 0.4 in its table), and the loss of pool size 7 (0.1) similar. It was fixed before any run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ablations.paper.published import BASELINE, Line, parse_csv, typed_row

ABOVE, BELOW, WITHIN = "above", "below", "within"
MARGIN = 0.5  # points

# The paper's accuracies are of one run each on the 50,000 validation images of ImageNet-1K.
IMAGES = 50_000
# Standard deviation over seeds in points. The paper does not give it; this is an assumption.
SEEDS_STD = 0.1

# What a claim says, and the words or numbers that say it.
_EVIDENCE: dict[int, tuple[str, str]] = {
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
# The other claims of the file: other models, COCO and ADE20K, longer training, speed.
OTHER_CLAIMS = range(19, 35)

# What claims.csv calls a row -> its variant in ablation.csv.
_VARIANTS = {
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


@dataclass(frozen=True)
class Claim:
    """A claim of the paper about two rows of its ablation table, in ImageNet-1K top-1.

    Args:
        id: Its number in claims.csv.
        subject: The row that the claim is about, as the file names it.
        comparison: The row that the subject is compared with.
        kind: ABOVE, BELOW or WITHIN (the margin).
        evidence: The words or numbers of the paper that state it.
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
    def images_error(self) -> float:
        """Standard error of the difference by its images in points, at most.

        By the binomial distribution of both accuracies. The two models see the same images, so
        their errors go together and the true one is smaller; by how much, the paper does not say.
        """
        squares = [top1 * (100 - top1) for top1 in (self.subject_top1, self.comparison_top1)]
        return math.sqrt(sum(squares) / IMAGES)

    @property
    def seeds_error(self) -> float:
        """Standard error of the difference by its seeds in points, as assumed."""
        return math.sqrt(2) * SEEDS_STD

    @property
    def half_width(self) -> float:
        """Half the width of a 95% interval of the difference over images and seeds, in points."""
        return 1.96 * math.hypot(self.images_error, self.seeds_error)

    @property
    def open(self) -> bool:
        """Whether images and seeds alone may explain the published difference."""
        return abs(self.difference) <= self.half_width

    @property
    def variants(self) -> tuple[str, str]:
        """Subject and comparison as the paper's ablation table calls them."""
        return _VARIANTS[self.subject], _VARIANTS[self.comparison]

    @property
    def summary(self) -> str:
        """The claim in a few words."""
        relation = self.kind if self.margin is None else f"within {self.margin:g} of"
        return f"{self.subject} {relation} {self.comparison}"


def load_claims() -> list[Claim]:
    """The claims about ablations, by id.

    Raises:
        SchemaError: A line lacks a column, or has a value of the wrong type.
    """
    claims = filter(None, parse_csv("claims.csv", _parse_claim))
    return sorted(claims, key=lambda claim: claim.id)


def _parse_claim(line: Line) -> Claim | None:
    """A line as a claim; None for a claim that is not about the ablations."""
    own = int(line["id"])
    if own not in _EVIDENCE:
        return None
    kind, evidence = _EVIDENCE[own]
    margin = MARGIN if kind == WITHIN else None
    columns = {
        "subject_top1": "value",
        "comparison_top1": "reference_value",
        "difference": "delta_from_tables",
        "stated_difference": "stated_delta",
    }
    return typed_row(Claim, line, columns, kind=kind, evidence=evidence, margin=margin)
