"""Studies -> data frame -> Markdown, CSV, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from ablations import labels
from ablations.records import Record
from ablations.study import Row, Study, studies

FORMATS = ["md", "csv", "tex"]
SUPERSCRIPT = {
    ord(digit): ord(raised) for digit, raised in zip("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True)
}


def tidy(study: Study) -> pd.DataFrame:
    """A row a variant, raw numbers: accuracies in percent, differences in points, costs as counts.

    Columns under ``s12_`` are the variant at the paper's size and 224 pixels, counted by fvcore;
    those under ``paper_`` are the paper's own numbers. Empty where there is none.
    """
    return pd.DataFrame([_tidy_row(study, row) for row in study.rows])


def _tidy_row(study: Study, row: Row) -> dict[str, object]:
    cost = next((record.cost for record in row.records if record.cost), {})
    big = cost.get("paper") or {}
    return {
        "recipe": study.recipe,
        "data": study.data,
        "fingerprint": study.fingerprint,
        "epochs": study.epochs,
        "precision": study.precision,
        "ablation": row.axis,
        "variant": row.label,
        "also_changes": "; ".join(row.also),
        "shared_changes": "; ".join(labels.listed(study.shared)),
        "top1_mean": row.top1.mean if row.top1 else None,
        "top1_std": row.top1.std if row.top1 else None,
        "n": row.top1.n if row.top1 else 0,
        "delta_mean": row.delta.mean if row.delta else None,
        "delta_ci95": row.delta.half_width if row.delta else None,
        "delta_n": row.delta.n if row.delta else 0,
        "diverged": row.count("diverged"),
        "failed": row.count("failed"),
        "params": cost.get("params"),
        "frozen_params": cost.get("frozen_params"),
        "macs": cost.get("macs"),
        "image_size": cost.get("image_size"),
        "s12_params": big.get("params"),
        "s12_frozen_params": big.get("frozen_params"),
        "s12_macs": big.get("macs"),
        "paper_params_m": row.paper.params_m if row.paper else None,
        "paper_macs_g": row.paper.macs_g if row.paper else None,
        "paper_top1": row.paper.top1 if row.paper else None,
        "paper_delta": row.paper.delta if row.paper else None,
        "commits": " ".join(commits(row.records)),
        "run_ids": " ".join(record.run_id for record in row.records),
    }


def reading(study: Study) -> tuple[pd.DataFrame, list[str]]:
    """The table as a reader sees it, all cells text, and its footnotes."""
    lines, notes, before = [], [], None
    for row, (_, raw) in zip(study.rows, tidy(study).iterrows(), strict=True):
        mark = ""
        if row.also:
            notes.append(f"{row.label} also changes {', '.join(row.also)}.")
            mark = " " + str(len(notes)).translate(SUPERSCRIPT)
        lines.append(
            {
                "Ablation": row.axis if row.axis != before else "",
                "Variant": row.label + mark,
                "Top-1 (%)": accuracy(row),
                "n": str(row.top1.n if row.top1 else 0),
                "Δ (95% CI)": difference(row),
                "Params (M)": number(raw["params"], 1e6, 3),
                "MACs (M)": number(raw["macs"], 1e6, 2),
                "Params at S12": number(raw["s12_params"], 1e6, 1),
                "MACs at S12 (G)": number(raw["s12_macs"], 1e9, 1),
                "Paper params": number(raw["paper_params_m"], 1, 1),
                "Paper MACs": number(raw["paper_macs_g"], 1, 1),
                "Paper top-1": number(raw["paper_top1"], 1, 1),
                "Paper Δ": signed(raw["paper_delta"]) if row.changed else "",
            }
        )
        before = row.axis
    return pd.DataFrame(lines), notes


def accuracy(row: Row) -> str:
    """Mean ± standard deviation, and what went wrong."""
    troubles = [
        f"{count} {status}" for status in ("diverged", "failed") if (count := row.count(status))
    ]
    told = f" ({', '.join(troubles)})" if troubles else ""
    if row.top1 is None:
        return f"missing{told}"
    std = "" if row.top1.std is None else f" ± {row.top1.std:.2f}"
    return f"{row.top1.mean:.2f}{std}{told}"


def difference(row: Row) -> str:
    """Paired difference from the baseline with the half width of its interval."""
    if row.delta is None:
        return "" if row.changed else "0"
    half = row.delta.half_width
    interval = "" if half is None else f" ± {half:.2f}"
    return f"{signed(row.delta.mean, 2)}{interval}"


def number(value: object, unit: float, digits: int) -> str:
    """A number in a unit, or a dash where it is missing."""
    if not isinstance(value, (int, float)) or pd.isna(value):
        return "–"
    return f"{value / unit:.{digits}f}"


def signed(value: object, digits: int = 1) -> str:
    """A number with its sign, zero without one; a dash where it is missing."""
    if not isinstance(value, (int, float)) or pd.isna(value):
        return "–"
    text = f"{value:+.{digits}f}"
    return text if float(text) else f"{0:.{digits}f}"


def heading(study: Study) -> str:
    """What the numbers of a study were measured on."""
    shared = f", all with {', '.join(labels.listed(study.shared))}" if study.shared else ""
    return (
        f"recipe {study.recipe}, data {study.data} ({study.fingerprint[:8]}), "
        f"{study.epochs} epochs, {study.precision} precision{shared}"
    )


def commits(records: Sequence[Record]) -> list[str]:
    """The code that records come from, a plus for uncommitted changes; failed runs left out."""
    return sorted(
        {
            str(record.environment["commit"])[:12] + "+" * bool(record.environment.get("dirty"))
            for record in records
            if record.done and record.environment.get("commit")
        }
    )


def footer(study: Study, notes: Sequence[str]) -> list[str]:
    """What a reader must know beside the table, one line each."""
    size = next((record.cost["image_size"] for record in study.records if record.cost), "?")
    lines = [f"{str(i).translate(SUPERSCRIPT)} {note}" for i, note in enumerate(notes, start=1)]
    lines.append(
        "Top-1 is the last epoch's, mean ± standard deviation over n seeds; Δ is the difference "
        "from the baseline paired by seed, with the half width of its 95% t interval."
    )
    lines.append(
        f"Params and MACs are those of this recipe's models, a picture being {size}x{size} pixels; "
        "at S12 they are of the same change on PoolFormer-S12 (or the size named) at 224x224, "
        "counted by fvcore. The paper's are arXiv 2111.11418 v3, ImageNet-1K."
    )
    if not study.has_baseline:
        lines.append("No baseline among these records, so there are no differences.")
    code = commits(study.records)
    if len(code) > 1:
        lines.append(f"These records are of different code: commits {', '.join(code)}.")
    if any(commit.endswith("+") for commit in code):
        lines.append("A commit with a plus had uncommitted changes.")
    for mixer, versions in plugin_versions(study.records).items():
        if len(versions) > 1:
            lines.append(f"Runs of {mixer} are of different code: versions {', '.join(versions)}.")
    return lines


def plugin_versions(records: Sequence[Record]) -> dict[str, list[str]]:
    """The versions of each token mixer of a plugin that records come from."""
    found: dict[str, set[str]] = {}
    for record in records:
        for mixer, version in record.environment.get("plugins", {}).items():
            found.setdefault(mixer, set()).add(version)
    return {mixer: sorted(versions) for mixer, versions in found.items()}


def render(records: Sequence[Record], style: str) -> str:
    """The tables of all studies among records.

    Args:
        records: Runs of any studies.
        style: md, csv (all studies in one, raw numbers) or tex (booktabs).
    """
    found = studies(records)
    if style == "csv":
        frames = [tidy(study) for study in found]
        return pd.concat(frames, ignore_index=True).to_csv(index=False) if frames else ""
    return "\n".join(markdown(study) if style == "md" else latex(study) for study in found)


def markdown(study: Study) -> str:
    """A GitHub table with its heading and footnotes."""
    frame, notes = reading(study)
    right = set(frame.columns) - {"Ablation", "Variant"}
    align = ["right" if name in right else "left" for name in frame.columns]
    table = frame.to_markdown(index=False, colalign=align, disable_numparse=True)
    footnotes = "\n".join(f"- {line}" for line in footer(study, notes))
    return f"### Ablation: {heading(study)}\n\n{table}\n\n{footnotes}\n"


def latex(study: Study) -> str:
    r"""A booktabs table that compiles as it is, with ``\usepackage{booktabs}``."""
    frame, notes = reading(study)
    frame = frame.map(escaped).rename(columns=escaped)
    columns = "ll" + "r" * (frame.shape[1] - 2)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{escaped(f'Ablation: {heading(study)}.')}}}",
            frame.style.hide(axis="index").to_latex(hrules=True, column_format=columns),
            r"\par\smallskip\raggedright\scriptsize",
            " \\\\\n".join(escaped(line) for line in footer(study, notes)),
            r"\end{table*}",
            "",
        ]
    )


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "–": "--",
    "->": r"$\rightarrow$",
    **{chr(code): rf"$^{chr(digit)}$" for digit, code in SUPERSCRIPT.items()},
}


def escaped(text: str) -> str:
    """Text as LaTeX shows it."""
    return re.sub("->|.", lambda found: LATEX.get(found[0], found[0]), text)
