"""The ablation table of a study: tidy numbers, and what a reader sees of them in two styles."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ablations import controls, labels, stats
from ablations.claims import hold, of_row
from ablations.rows import Row, Study, place
from ablations.tables import columns, missing, provenance
from ablations.tables.table import Drawn, Table, number, p_value, signed, significant

STYLES = ["full", "paper"]
BOOTSTRAP = "Bootstrap 95%"
CONTROL = "Δ from control"
WELCH = "ʷ The two share fewer than two seeds: their means are compared, by Welch's t."
COUNTS = ["params", "frozen_params", "macs", "image_size"]
COUNTS += ["s12_params", "s12_frozen_params", "s12_macs"]


def tidy(study: Study) -> pd.DataFrame:
    """A row a variant, raw numbers: accuracies in percent, differences in points, costs as counts.

    Columns under ``s12_`` are the variant at the paper's size and 224 pixels, counted by fvcore;
    those under ``paper_`` are the paper's own numbers. Empty where there is none. Rows of the paper
    that a section of the study lacks have n = 0 and the command that would fill them.
    """
    absent = missing.paper_rows(study, whole=False)
    rows = sorted([*study.rows, *absent], key=place)
    frame = pd.DataFrame([_tidy_row(study, row) for row in rows])
    # Whole numbers stay whole beside rows that have none.
    return frame.astype(dict.fromkeys(COUNTS, "Int64"))


def _tidy_row(study: Study, row: Row) -> columns.Columns:
    delta, big = row.delta, row.cost.get("paper") or {}
    command = missing.seeds_command(study, row, row.lacking) if row.lacking else ""
    if not row.records:
        command = missing.row_command(study, row)
    return {
        **columns.of_study(study),
        "ablation": row.axis,
        "variant": row.label,
        "also_changes": "" if row.axis == controls.AXIS else "; ".join(labels.also(row.changed)),
        "shared_changes": "; ".join(labels.listed(study.shared)),
        **columns.of_outcome(row),
        "top1_bootstrap_low": row.bootstrap[0] if row.bootstrap else None,
        "top1_bootstrap_high": row.bootstrap[1] if row.bootstrap else None,
        "top1_by_seed": columns.by_seed(row),
        "delta_mean": None,  # filled below; here it keeps its place before the half width
        "delta_ci95": delta.half_width if delta else None,
        **columns.of_difference(delta),
        "delta_test": columns.test_of(delta),
        "p": delta.p if delta else None,
        "p_holm": row.p,
        **_control_columns(row),
        "seed_correlation": delta.correlation if delta else None,
        "minimum_effect": row.minimum_effect,
        **columns.of_ends(row),
        "failures": "; ".join(f"{count} {kind}" for kind, count in sorted(row.failures.items())),
        "missing_seeds": " ".join(map(str, row.lacking)),
        "missing_command": command,
        **columns.of_cost(row),
        "s12_params": big.get("params"),
        "s12_frozen_params": big.get("frozen_params"),
        "s12_macs": big.get("macs"),
        "paper_params_m": row.paper.params_m if row.paper else None,
        "paper_macs_g": row.paper.macs_g if row.paper else None,
        "paper_top1": row.paper.top1 if row.paper else None,
        "paper_delta": row.paper.delta if row.paper else None,
        **columns.of_records(row),
    }


def _control_columns(row: Row) -> columns.Columns:
    """Its differences from its controls, of each kind that there is."""
    found: columns.Columns = {}
    for kind in controls.KINDS:
        against = next((each for each in row.controls if each.kind == kind), None)
        delta = against.delta if against else None
        name = f"control_{kind.replace(' ', '_')}"
        found |= {
            name: against.control.label if against else None,
            **columns.of_interval(delta, f"{name}_delta"),
            f"{name}_n": delta.n if delta else 0,
        }
    return found


def ablation(study: Study, style: str = "full") -> Table:
    """The table of a study.

    Args:
        study: The study.
        style: full (all that is known of a row) or paper (the columns and the order of the paper's
            Table 5, all its rows, and under their axes those that it lacks).
    """
    absent = missing.paper_rows(study, whole=style == "paper")
    rows = sorted([*study.rows, *absent], key=place)
    table = Table(f"Ablation: {heading(study)}", pd.DataFrame(), ["Ablation", "Variant"])
    table.section = "Ablation"
    lines = []
    for position, row in enumerate(rows):
        mark = ""
        if row.also:
            others = ", ".join(row.also)
            mark = f" {table.note(f'{row.label} also changes {others}.')}"
        if style == "full" and (partly := pairs_note(row)):
            mark = f"{mark} {table.note(partly)}"
        if row.controls:
            mark = f"{mark} {table.note(controls_note(row))}"
        cells = _full(study, row) if style == "full" else _paper(row)
        lines.append({"Ablation": row.axis, "Variant": row.label + mark, **cells})
        if row is study.best:
            table.bold.add((position, "Top-1 (%)"))
    table.frame = pd.DataFrame(lines).astype(str)
    table.runs = [[[record.run_id for record in row.records]] for row in rows]
    if style == "full":
        table.drawn = [_drawn(row) for row in rows]
        verdicts = hold(study)
        badges = [of_row(verdicts, row) for row in rows]
        table.badges = badges if any(badges) else []
        empty = [name for name in ("r", BOOTSTRAP, CONTROL) if not any(table.frame[name])]
        table.frame = table.frame.drop(columns=empty)
    table.foot = [*_foot(study, style), *missing.notes(study, absent), *provenance.lines(study)]
    return table


def _full(study: Study, row: Row) -> dict[str, str]:
    cost, paper = row.cost, row.paper
    big = cost.get("paper") or {}
    return {
        "Top-1 (%)": accuracy(row),
        "n": str(row.top1.n if row.top1 else 0),
        "Seeds": points(row),
        BOOTSTRAP: "[{:.2f}, {:.2f}]".format(*row.bootstrap) if row.bootstrap else "",
        "Δ": difference(row),
        "95% CI": interval(row.delta),
        "p": p_value(row.p),
        "r": correlation(row.delta),
        CONTROL: from_control(row),
        "MDE": "" if row.minimum_effect is None else f"{row.minimum_effect:.2f}",
        "Params (M)": number(cost.get("params"), 1e6, 3),
        "MACs (M)": number(cost.get("macs"), 1e6, 2),
        "Params at S12": number(big.get("params"), 1e6, 1),
        "MACs at S12 (G)": number(big.get("macs"), 1e9, 1),
        "Paper params": number(paper.params_m if paper else None, 1, 1),
        "Paper MACs": number(paper.macs_g if paper else None, 1, 1),
        "Paper top-1": number(paper.top1 if paper else None, 1, 1),
        "Paper Δ": signed(paper.delta if paper else None) if row is not study.baseline else "",
    }


def _paper(row: Row) -> dict[str, str]:
    return {
        "Params (M)": significant(row.cost.get("params"), 1e6),
        "MACs (G)": significant(row.cost.get("macs"), 1e9),
        "Top-1 (%)": accuracy(row),
    }


def _drawn(row: Row) -> Drawn:
    paper = row.paper.delta if row.paper and row.axis != labels.BASELINE else None
    if row.delta is None:
        return Drawn(paper=paper)
    return Drawn(row.delta.mean, row.delta.low, row.delta.high, paper)


def accuracy(row: Row) -> str:
    """Mean ± standard deviation, and what went wrong, by its kind."""
    troubles = [f"{count} failed: {kind}" for kind, count in sorted(row.failures.items())]
    if diverged := row.count("diverged"):
        troubles.insert(0, f"{diverged} diverged")
    told = f" ({', '.join(troubles)})" if troubles else ""
    if row.top1 is None:
        return f"missing{told}"
    std = "" if row.top1.std is None else f" ± {row.top1.std:.2f}"
    return f"{row.top1.mean:.2f}{std}{told}"


def points(row: Row) -> str:
    """The outcomes of the seeds where they are few, in the order of the seeds."""
    return " ".join(f"{value:.2f}" for value in row.top1.points) if row.top1 else ""


def difference(row: Row) -> str:
    """Mean difference from the baseline; a ʷ where the seeds do not match and Welch's t is used."""
    if row.delta is None:
        return "" if row.changed or not row.records else "0"
    return f"{signed(row.delta.mean, 2)}{unpaired(row.delta)}"


def unpaired(delta: stats.Difference) -> str:
    """The mark of Welch's t."""
    return "ʷ" if delta.p is not None and not delta.paired else ""


def pairs_note(row: Row) -> str:
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


def from_control(row: Row) -> str:
    """Its difference from the control that shares most with it; empty without one."""
    return against_text(row.control.delta) if row.control else ""


def against_text(delta: stats.Difference | None) -> str:
    """A difference with its interval, or a word."""
    return f"{signed(delta.mean, 2)} {interval(delta)}".strip() if delta else "missing"


def controls_note(row: Row) -> str:
    """A row's differences from all its controls, in a sentence."""
    told = [
        f"{against_text(each.delta)} from {each.control.label} (the row's {each.kind})"
        for each in row.controls
    ]
    return f"{row.label} against its controls: {'; '.join(told)}."


def interval(delta: stats.Difference | None) -> str:
    """A 95% interval; a word where the outcomes do not vary, empty for one seed."""
    if delta is None:
        return ""
    if delta.constant:
        return "no spread"
    if delta.low is None or delta.high is None:
        return ""
    return f"[{signed(delta.low, 2)}, {signed(delta.high, 2)}]"


def heading(study: Study) -> str:
    """What the numbers of a study were measured on."""
    shared = f", all with {labels.described(study.shared)}" if study.shared else ""
    return f"{study.name}{shared}"


def _foot(study: Study, style: str) -> list[str]:
    """What a reader must know of the columns, and what the study lacks."""
    size = next((side for r in study.records if (side := r.cost.get("image_size"))), "?")
    lines = [f"Top-1 is the last epoch's, mean ± standard deviation over {_seeds(study, style)}."]
    if style == "full":
        lines += _statistics(study.rows)
        lines.append(
            f"Params and MACs are those of this recipe's models, a picture being {size}x{size} "
            "pixels; at S12 they are of the same change on PoolFormer-S12 (or the size named) at "
            "224x224, counted by fvcore. The paper's are arXiv 2111.11418 v3, ImageNet-1K."
        )
    else:
        lines.append(
            f"Params and MACs (fvcore) are those of this recipe's models at {size}x{size} pixels."
        )
    if study.best is not None:
        lines.append(
            "Bold: above every other row of two seeds or more (paired or Welch t, Holm, 5%)."
        )
    if study.candidates:
        ids = ", ".join(f"{row.records[0].run_id} ({row.label})" for row in study.candidates)
        lines.append(
            f"More than one row could be the baseline, so there are no differences: choose with "
            f"--baseline RUN_ID, one of {ids}."
        )
    elif study.baseline is None:
        lines.append("No baseline among these records, so there are no differences.")
    return lines


def _seeds(study: Study, style: str) -> str:
    """Over how many seeds the means are, where no column says it."""
    if style == "full":
        return "n seeds"
    counts = {row.label: row.top1.n for row in study.rows if row.top1}
    most = max(counts.values(), default=0)
    fewer = "; ".join(f"{n} of {label}" for label, n in counts.items() if n != most)
    return f"n = {most} seeds ({fewer})" if fewer else f"n = {most} seeds"


def _statistics(rows: Sequence[Row]) -> list[str]:
    found = [row.delta for row in rows if row.delta]
    lines = []
    if any(row.bootstrap for row in rows):
        lines.append(
            f"{BOOTSTRAP} is a bias-corrected and accelerated bootstrap interval of the mean; of "
            "five values or fewer it is too narrow, and the t interval the one to trust."
        )
    if found:
        lines.append(
            "Δ is the difference from the baseline in points, paired by seed, with its 95% t "
            "interval; p is its p-value after Holm's correction over this table; r is the "
            "correlation of the seeds' outcomes with the baseline's (above 0, pairing helps); MDE "
            "is the smallest true difference that these seeds would find with 80% power at 5%."
        )
    if any(row.controls for row in rows):
        lines.append(
            f"{CONTROL} is the difference from the control that shares most with a row: the "
            "baseline with the row's other changes and its size (MACs within 3%), else with its "
            "other changes, else with its size."
        )
    if any(delta.p is not None and not delta.paired for delta in found):
        lines.append(WELCH)
    if any(delta.df is None for delta in found):
        lines.append("A row of one seed has neither interval nor p-value.")
    if any(delta.constant for delta in found):
        lines.append(
            "No spread: the differences of all seeds are equal, so no interval can be had."
        )
    return lines
