"""The ablation table of a study: tidy numbers, and what a reader sees of them in two styles."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ablations.analysis import controls, stats
from ablations.analysis.rows import Row, row_position
from ablations.analysis.study import Study
from ablations.analysis.verdicts import badge_of_row, judge_claims
from ablations.config import naming
from ablations.errors import ConfigError
from ablations.tables import csv_columns, missing, provenance
from ablations.tables.table import (
    MISSING,
    UNITS,
    PlottedDifference,
    Table,
    number_text,
    p_value_text,
    quantity_text,
    signed_text,
    significant_text,
)
from ablations.text.phrases import pluralize
from poolformer.config import unknown_name

STYLES = ["full", "paper"]
TOP1, BOTH = "Top-1 (%)", "Δ ± 95% CI"
BOOTSTRAP = "Bootstrap 95%"
CONTROL = "Δ from control"
WELCH_NOTE = "ʷ The two share fewer than two seeds: their means are compared, by Welch's t."
# What a column is called on the command line -> its heading.
COLUMNS = {
    "top1": TOP1,
    "n": "n",
    "seeds": "Seeds",
    "bootstrap": BOOTSTRAP,
    "delta_ci": BOTH,
    "delta": "Δ",
    "ci": "95% CI",
    "p": "p",
    "r": "r",
    "control": CONTROL,
    "mde": "MDE",
    "params": "Params",
    "macs": "MACs",
    "s12_params": "Params at S12",
    "s12_macs": "MACs at S12",
    "paper_params": "Paper params",
    "paper_macs": "Paper MACs",
    "paper_top1": "Paper top-1",
    "paper_delta": "Paper Δ",
}
EVERY = [name for name in COLUMNS.values() if name != BOTH]  # which says what two others say
NARROW = [TOP1, "n", BOTH, "p", "Params", "MACs", "Paper Δ"]  # within WIDTH on a screen
PAGE = [TOP1, "n", "Δ", "95% CI", "p", CONTROL, "Params", "MACs", "Paper top-1", "Paper Δ"]
KEPT = ["Ablation", "Variant", TOP1, "n"]  # also where they are empty
WIDTH = 100
COUNTS = ["params", "frozen_params", "macs", "image_size"]
Units = dict[str, str]  # params, macs -> the unit of all rows
COUNTS += ["s12_params", "s12_frozen_params", "s12_macs"]


def parse_columns(text: str) -> list[str]:
    """Headings of ``all`` columns or of those that are named, commas between them.

    Raises:
        ConfigError: There is no such column; the line has all of them.
    """
    words = [word.strip().lower() for word in text.split(",")]
    if words == ["all"]:
        return EVERY
    if "all" in words:
        raise ConfigError(f"--columns {text!r}: all has every column: leave the others out")
    found = []
    for word in words:
        same = [name for key, name in COLUMNS.items() if word in (key, name.lower())]
        if not same:
            raise ConfigError(unknown_name("column", word, ["all", *COLUMNS]))
        found.append(same[0])
    return found


def ablation_frame(study: Study, whole: bool = False) -> pd.DataFrame:
    """A row a variant, raw numbers: accuracies in percent, differences in points, costs as counts.

    Columns under ``s12_`` are the variant at the paper's size and 224 pixels, counted by fvcore;
    those under ``paper_`` are the paper's own numbers. Empty where there is none. Rows that are not
    run have n = 0 and the command that would fill them.

    Args:
        study: The study.
        whole: Whether rows of the paper that the study lacks are rows too.
    """
    rows = sorted([*study.rows, *missing.missing_rows(study, whole)], key=row_position)
    frame = pd.DataFrame([_tidy_row(study, row) for row in rows])
    # Whole numbers stay whole beside rows that have none.
    return frame.astype(dict.fromkeys(COUNTS, "Int64"))


def _tidy_row(study: Study, row: Row) -> csv_columns.Columns:
    delta, big = row.delta, row.cost.get("paper") or {}
    command = missing.seeds_command(study, row, row.missing_seeds) if row.missing_seeds else ""
    if not row.records and row.config is None:
        command = missing.row_command(study, row)
    return {
        **csv_columns.of_study(study),
        "ablation": row.axis,
        "variant": row.label,
        "also_changes": ""
        if row.axis == controls.AXIS
        else "; ".join(naming.other_changes(row.changed)),
        "shared_changes": "; ".join(naming.format_assignments(study.shared_changes)),
        **csv_columns.of_outcome(row),
        "top1_bootstrap_low": row.bootstrap[0] if row.bootstrap else None,
        "top1_bootstrap_high": row.bootstrap[1] if row.bootstrap else None,
        "top1_by_seed": csv_columns.by_seed(row),
        "delta_mean": None,  # filled below; here it keeps its place before the half width
        "delta_ci95": delta.half_width if delta else None,
        **csv_columns.of_difference(delta),
        "delta_test": csv_columns.test_of(delta),
        "p": delta.p if delta else None,
        "p_holm": row.p_holm,
        **_control_columns(row),
        "seed_correlation": delta.correlation if delta else None,
        "minimum_effect": row.minimum_effect,
        **csv_columns.of_ends(row),
        "failures": "; ".join(f"{count} {kind}" for kind, count in sorted(row.failures.items())),
        "missing_seeds": " ".join(map(str, row.missing_seeds)),
        "missing_command": command,
        **csv_columns.of_cost(row),
        "s12_params": big.get("params"),
        "s12_frozen_params": big.get("frozen_params"),
        "s12_macs": big.get("macs"),
        "paper_params_m": row.paper.params_m if row.paper else None,
        "paper_macs_g": row.paper.macs_g if row.paper else None,
        "paper_top1": row.paper.top1 if row.paper else None,
        "paper_delta": row.paper.delta if row.paper else None,
        **csv_columns.of_records(row),
    }


def _control_columns(row: Row) -> csv_columns.Columns:
    """Its differences from its controls, of each kind that there is."""
    found: csv_columns.Columns = {}
    for kind in controls.KINDS:
        against = next((each for each in row.controls if each.kind == kind), None)
        delta = against.delta if against else None
        name = f"control_{kind.replace(' ', '_')}"
        found |= {
            name: against.control.label if against else None,
            **csv_columns.of_interval(delta, f"{name}_delta"),
            f"{name}_n": delta.n if delta else 0,
        }
    return found


def ablation_table(
    study: Study,
    style: str = "full",
    columns: Sequence[str] = PAGE,
    whole: bool = False,
    width: int | None = None,
) -> Table:
    """The table of a study: its rows, run or not.

    Args:
        study: The study.
        style: full, or paper: the columns of the paper's Table 5.
        columns: Headings of the columns to show; those with nothing in them are left out.
        whole: Whether rows of the paper that the study lacks are shown too.
        width: Columns of a screen that Markdown keeps to; None for as many as it takes.
    """
    rows = sorted([*study.rows, *missing.missing_rows(study, whole)], key=row_position)
    table = Table(f"Ablation: {study_title(study)}", pd.DataFrame(), ["Ablation", "Variant"])
    table.section, table.width = "Ablation", width
    full = style == "full"
    small, large = _units(study, "cost"), _units(study, "paper")
    lines = []
    for position, row in enumerate(rows):
        notes = []
        if row.also_changes:
            notes.append(f"{row.label} also changes {', '.join(row.also_changes)}.")
        if full and (partly := partial_pairs_note(row)):
            notes.append(partly)
        if row.controls:
            notes.append(controls_note(row))
        marks = "".join(f" {table.note(note)}" for note in notes)
        cells = _full(study, row, small, large) if full else _paper(row, small)
        lines.append({"Ablation": row.axis, "Variant": row.label + marks, **cells})
        if row is study.best:
            table.bold.add((position, TOP1))
    frame = pd.DataFrame(lines).astype(str)
    table.frame = _chosen(frame, columns) if full else frame
    table.runs = [[[record.run_id for record in row.records]] for row in rows]
    if full:
        table.drawn = [_drawn(row) for row in rows]
        verdicts = judge_claims(study)
        badges = [badge_of_row(verdicts, row) for row in rows]
        table.badges = badges if any(badges) else []
    shown = list(table.frame.columns)
    table.foot = [
        *_foot(study, style, shown),
        *missing.missing_notes(study, missing.missing_rows(study, whole)),
        *provenance.provenance_notes(study),
    ]
    return table


def _chosen(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The columns that were asked for and have something in them."""
    wanted = ["Ablation", "Variant", *columns]
    if any(frame[BOOTSTRAP]):
        wanted.append(BOOTSTRAP)  # it was asked for by a flag of its own
    wanted = list(dict.fromkeys(wanted))
    frame = frame[[name for name in wanted if name in KEPT or _told(frame[name])]]
    if BOTH in frame and not any("±" in text or text == "no spread" for text in frame[BOTH]):
        frame = frame.rename(columns={BOTH: "Δ"})  # of one seed there are no intervals
    return frame


def _told(cells: pd.Series[str]) -> bool:
    """Whether a column has more in it than gaps and the baseline's zero."""
    return any(text not in ("", MISSING, "0") for text in cells)


def _full(study: Study, row: Row, small: Units, large: Units) -> dict[str, str]:
    cost, paper = row.cost, row.paper
    big = cost.get("paper") or {}
    return {
        TOP1: accuracy_text(row),
        "n": str(row.top1.n if row.top1 else 0),
        "Seeds": points(row),
        BOOTSTRAP: "[{:.2f}, {:.2f}]".format(*row.bootstrap) if row.bootstrap else "",
        BOTH: with_half_width(row),
        "Δ": difference_text(row),
        "95% CI": interval_text(row.delta),
        "p": p_value_text(row.p_holm),
        "r": correlation(row.delta),
        CONTROL: control_text(row),
        "MDE": "" if row.minimum_effect is None else f"{row.minimum_effect:.2f}",
        "Params": quantity_text(cost.get("params"), small["params"]),
        "MACs": quantity_text(cost.get("macs"), small["macs"]),
        "Params at S12": quantity_text(big.get("params"), large["params"]),
        "MACs at S12": quantity_text(big.get("macs"), large["macs"]),
        "Paper params": quantity_text(paper and 1e6 * paper.params_m, "M"),
        "Paper MACs": quantity_text(paper and 1e9 * paper.macs_g, "G"),
        "Paper top-1": number_text(paper.top1 if paper else None, 1, 1),
        "Paper Δ": signed_text(paper.delta if paper else None) if row is not study.baseline else "",
    }


def _units(study: Study, which: str) -> Units:
    """The unit of each count: one for all rows, so that they can be compared at a glance."""
    found = {}
    for name in ("params", "macs"):
        costs = [row.cost if which == "cost" else row.cost.get("paper") or {} for row in study.rows]
        most = max((cost.get(name) or 0 for cost in costs), default=0)
        found[name] = next((unit for unit, size in UNITS.items() if most >= size), "M")
    return found


def _paper(row: Row, units: Units) -> dict[str, str]:
    unit = "G" if units["macs"] == "G" else "M"
    return {
        "Params (M)": significant_text(row.cost.get("params"), 1e6),
        f"MACs ({unit})": significant_text(row.cost.get("macs"), UNITS[unit]),
        TOP1: accuracy_text(row),
    }


def _drawn(row: Row) -> PlottedDifference:
    paper = row.paper.delta if row.paper and row.axis != naming.BASELINE else None
    if row.delta is None:
        return PlottedDifference(paper=paper)
    return PlottedDifference(row.delta.mean, row.delta.low, row.delta.high, paper)


def accuracy_text(row: Row) -> str:
    """Mean ± standard deviation, and what went wrong, by its kind."""
    troubles = [f"{count} failed: {kind}" for kind, count in sorted(row.failures.items())]
    if diverged := row.count("diverged"):
        troubles.insert(0, f"{diverged} diverged")
    if row.started_seeds:
        troubles.append(f"{len(row.started_seeds)} not done")
    told = f" ({', '.join(troubles)})" if troubles else ""
    if row.top1 is None:
        return f"missing{told}"
    std = "" if row.top1.std is None else f" ± {row.top1.std:.2f}"
    return f"{row.top1.mean:.2f}{std}{told}"


def points(row: Row) -> str:
    """The outcomes of the seeds where they are few, in the order of the seeds."""
    return " ".join(f"{value:.2f}" for value in row.top1.few_values) if row.top1 else ""


def difference_text(row: Row) -> str:
    """Mean difference from the baseline; a ʷ where the seeds do not match and Welch's t is used."""
    if row.delta is None:
        return "" if row.changed or not row.records else "0"
    return f"{signed_text(row.delta.mean, 2)}{welch_mark(row.delta)}"


def with_half_width(row: Row) -> str:
    """Mean difference from the baseline ± half of its 95% interval."""
    delta = row.delta
    if delta is None or delta.constant or delta.half_width is None:
        told = " no spread" if delta and delta.constant else ""
        return difference_text(row) + told
    return f"{signed_text(delta.mean, 2)} ± {delta.half_width:.2f}{welch_mark(delta)}"


def welch_mark(delta: stats.Difference) -> str:
    """The mark of Welch's t."""
    return "ʷ" if delta.p is not None and not delta.paired else ""


def partial_pairs_note(row: Row) -> str:
    """Where a paired difference is over fewer seeds than the row's mean: over how many."""
    delta = row.delta
    if delta is None or row.top1 is None or not delta.paired or delta.n == row.top1.n:
        return ""
    seeds = "seed" if delta.n == 1 else "seeds"
    return (
        f"{row.label}: Δ is over the {delta.n} {seeds} that the baseline has too, of {row.top1.n}."
    )


def correlation(delta: stats.Difference | None) -> str:
    """The correlation of the seeds' outcomes; empty where there is none."""
    if delta is None or delta.correlation is None:
        return ""
    return f"{delta.correlation:.2f}"


def control_text(row: Row) -> str:
    """Its difference from the control that shares most with it; empty without one."""
    return control_difference_text(row.control.delta) if row.control else ""


def control_difference_text(delta: stats.Difference | None) -> str:
    """A difference with its interval, or a word."""
    return f"{signed_text(delta.mean, 2)} {interval_text(delta)}".strip() if delta else "missing"


def controls_note(row: Row) -> str:
    """A row's differences from all its controls, in a sentence."""
    told = [
        f"{control_difference_text(each.delta)} from {each.control.label} (the row's {each.kind})"
        for each in row.controls
    ]
    return f"{row.label} against its controls: {'; '.join(told)}."


def interval_text(delta: stats.Difference | None) -> str:
    """A 95% interval; a word where the outcomes do not vary, empty for one seed."""
    if delta is None:
        return ""
    if delta.constant:
        return "no spread"
    if delta.low is None or delta.high is None:
        return ""
    return f"[{signed_text(delta.low, 2)}, {signed_text(delta.high, 2)}]"


def study_title(study: Study) -> str:
    """What the numbers of a study were measured on."""
    shared = (
        f", all with {naming.describe_values(study.shared_changes)}" if study.shared_changes else ""
    )
    return f"{study.name}{shared}"


def _foot(study: Study, style: str, shown: Sequence[str]) -> list[str]:
    """What a reader must know of the columns that are shown, and what the study lacks."""
    lines = [f"Top-1: of the last epoch, mean ± standard deviation over {_seeds(study, style)}."]
    lines += _statistics(study.rows, shown)
    size = next((side for r in study.records if (side := r.cost.get("image_size"))), "?")
    if {"Params", "MACs"} & set(shown) or style == "paper":
        lines.append(f"Params, MACs: of these models at {size}x{size} pixels, counted by fvcore.")
    if {"Params at S12", "MACs at S12"} & set(shown):
        lines.append(
            "At S12: of the same change on PoolFormer-S12, or the size named, at 224x224 pixels."
        )
    if any(name.startswith("Paper") for name in shown):
        lines.append(_of_paper(study))
    if study.best is not None:
        lines.append("Bold: above every other row of two seeds or more (t tests, Holm, 5%).")
    if study.baseline_candidates:
        ids = ", ".join(
            f"{row.records[0].run_id} ({row.label})" for row in study.baseline_candidates
        )
        lines.append(
            f"More than one row could be the baseline, so there are no differences: choose with "
            f"--baseline RUN_ID, one of {ids}."
        )
    elif study.baseline is None:
        lines.append(f"{NO_BASELINE} It is trained by `{missing.baseline_command(study)}`")
    return lines


NO_BASELINE = "No baseline among these records, so there are no differences."


def _of_paper(study: Study) -> str:
    """Where the paper's numbers are from, and that they are of other images than a study's."""
    line = "Paper: arXiv 2111.11418 version 3, ImageNet-1K at 224x224 pixels"
    classes = next((found for r in study.records if (found := r.data.get("classes"))), None)
    if study.data == "folder" and classes == 1000:
        return f"{line}."
    count = f" ({pluralize(classes, 'class', 'classes')})" if isinstance(classes, int) else ""
    return f"{line}; this study's data set is another one: {study.data}{count}."


def _seeds(study: Study, style: str) -> str:
    """Over how many seeds the means are, where no column says it."""
    if style == "full":
        return "n seeds"
    counts = {row.label: row.top1.n for row in study.rows if row.top1}
    most = max(counts.values(), default=0)
    fewer = "; ".join(f"{n} of {label}" for label, n in counts.items() if n != most)
    told = f"n = {pluralize(most, 'seed')}"
    return f"{told} ({fewer})" if fewer else told


def _statistics(rows: Sequence[Row], shown: Sequence[str]) -> list[str]:
    """A line for each column of statistics that is shown."""
    found = [row.delta for row in rows if row.delta]
    both = ", ± half of its 95% t interval" if BOTH in shown else ""
    both = both or (", with its 95% t interval" if "95% CI" in shown else "")
    told = {
        BOOTSTRAP: f"{BOOTSTRAP}: a bias-corrected and accelerated interval of the mean; of five "
        "values or fewer it is too narrow.",
        BOTH: f"Δ: difference from the baseline in points, paired by seed{both}.",
        "Δ": f"Δ: difference from the baseline in points, paired by seed{both}.",
        "p": "p: of Δ, after Holm's correction over this table.",
        "r": "r: correlation of the seeds' outcomes with the baseline's; above 0, pairing helps.",
        CONTROL: f"{CONTROL}: from the control that shares most with a row: its other changes and "
        "its size (MACs within 3%), else its other changes, else its size.",
        "MDE": "MDE: smallest true difference that these seeds find with 80% power at 5%.",
    }
    lines = list(dict.fromkeys(line for name, line in told.items() if name in shown))
    if not {"Δ", BOTH} & set(shown):
        return lines
    if any(delta.p is not None and not delta.paired for delta in found):
        lines.append(WELCH_NOTE)
    if any(delta.df is None for delta in found):
        lines.append("A row of one seed has neither interval nor p-value.")
    if any(delta.constant for delta in found):
        lines.append("No spread: the seeds' differences are equal, so there is no interval.")
    return lines
