"""The paper's claims, and the verdict of a study's records on each."""

from __future__ import annotations

from ablations.claims.paper import ABOVE, BELOW, MARGIN, OTHERS, WITHIN, Claim, read
from ablations.claims.verdicts import (
    AGREES,
    CONTRADICTS,
    NOT_RUN,
    UNCORRECTED,
    UNDETERMINED,
    VERDICTS,
    Verdict,
    hold,
    judge,
    learned,
    of_row,
    seeds_to_settle,
)

__all__ = [
    "ABOVE",
    "AGREES",
    "BELOW",
    "CONTRADICTS",
    "MARGIN",
    "NOT_RUN",
    "OTHERS",
    "UNCORRECTED",
    "UNDETERMINED",
    "VERDICTS",
    "WITHIN",
    "Claim",
    "Verdict",
    "hold",
    "judge",
    "learned",
    "of_row",
    "read",
    "seeds_to_settle",
]
