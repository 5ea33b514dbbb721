"""The ablation table of a study: a row a variant, as raw numbers or as text in two styles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from ablations.analysis import controls
from ablations.analysis.method_notes import method_note
from ablations.analysis.rows import Row, row_position
from ablations.analysis.study import Study
from ablations.analysis.verdicts import judge_claims, verdict_of_row
from ablations.config import naming
from ablations.errors import ConfigError
from ablations.tables import cells, csv_values, missing, provenance
from ablations.tables.notes import (
    also_note,
    baseline_notes,
    controls_note,
    delta_notes,
    paper_note,
    partial_pairs_note,
    study_title,
)
from ablations.tables.selection import ALL_ROWS, SORTS, RowSelection
from ablations.tables.table import (
    Badge,
    Column,
    CommandNote,
    PlottedDifference,
    Table,
    Values,
    word_columns,
)
from ablations.text.phrases import pluralize
from poolformer.config import unknown_name

STYLES = ["full", "paper"]
WIDTH = 100
ABLATION, VARIANT = "Ablation", "Variant"
TOP1, BOTH, BOOTSTRAP = "Top-1 (%)", "Δ ± 95% CI", "Bootstrap 95%"
CONTROL = "Δ from control"

TOP1_NOTE = "Top-1: of the last epoch, mean ± standard deviation over {seeds}."
DELTA_NOTE = "Δ: difference from the baseline in points, paired by seed"
ERRORS_NOTE = (
    "SE seeds, SE images: parts of the standard error of Δ that other seeds and other images add; "
    "Images: the images' share of its square."
)
COST_NOTE = "Params, MACs: of these models at {size}x{size} pixels, counted by fvcore."
S12_NOTE = "At S12: of the same change on PoolFormer-S12, or the size named, at 224x224 pixels."
COLUMNS = [
    Column(TOP1, "_row", cells.accuracy, TOP1_NOTE, "top1"),
    Column("n", "n", name="n"),
    Column("Seeds", "_row", cells.seeds, name="seeds"),
    Column(
        BOOTSTRAP,
        "_row",
        cells.bootstrap,
        f"{BOOTSTRAP}: a bias-corrected and accelerated interval of the mean; of five values or "
        "fewer it is too narrow.",
        "bootstrap",
    ),
    Column(
        BOTH,
        "_row",
        cells.row_delta_and_interval,
        f"{DELTA_NOTE}, ± half of its 95% interval. {{method}}",
        "delta_ci",
    ),
    Column("Δ", "_row", cells.row_delta, f"{DELTA_NOTE}.", "delta"),
    Column("95% CI", "_delta", cells.interval, "95% CI: of Δ. {method}", "ci"),
    Column("p", "_delta", cells.reported_p, name="p"),
    Column("SE seeds", "delta_se_seeds", cells.two_decimals, "{errors}", "se_seeds"),
    Column("SE images", "delta_se_images", cells.two_decimals, "{errors}", "se_images"),
    Column("Images", "images_share", cells.percentage, "{errors}", "images_share"),
    Column(
        "r",
        "seed_correlation",
        cells.two_decimals,
        "r: correlation of the seeds' outcomes with the baseline's; above 0, pairing helps.",
        "r",
    ),
    Column(
        CONTROL,
        "_row",
        cells.control,
        f"{CONTROL}: from the control that shares most with a row: its other changes and its "
        "size (MACs within 3%), else its other changes, else its size.",
        "control",
    ),
    Column(
        "MDE",
        "minimum_effect",
        cells.two_decimals,
        "MDE: smallest true difference whose interval excludes 0 with 80% power.",
        "mde",
    ),
    Column("Params", "_params", note=COST_NOTE, name="params"),
    Column("MACs", "_macs", note=COST_NOTE, name="macs"),
    Column("Params at S12", "_s12_params", note=S12_NOTE, name="s12_params"),
    Column("MACs at S12", "_s12_macs", note=S12_NOTE, name="s12_macs"),
    Column("Paper params", "paper_params_m", cells.millions, "{paper}", "paper_params"),
    Column("Paper MACs", "paper_macs_g", cells.billions, "{paper}", "paper_macs"),
    Column("Paper top-1", "paper_top1", cells.number, "{paper}", "paper_top1"),
    Column("Paper Δ", "_paper_delta", note="{paper}", name="paper_delta"),
]
BY_HEADING = {column.heading: column for column in COLUMNS}
EVERY = [name for name in BY_HEADING if name != BOTH]  # which repeats two others
NARROW = [TOP1, "n", BOTH, "p", "Params", "MACs", "Paper Δ"]  # fit WIDTH
PAGE = [TOP1, "n", "Δ", "95% CI", "p", CONTROL, "Params", "MACs", "Paper top-1", "Paper Δ"]
OVER_IMAGES = ["SE seeds", "SE images", "Images"]
KEPT = [TOP1, "n"]  # also if empty
NO_CONTENT = {"", cells.EMPTY, "0"}  # gaps and the baseline's zero
WITH_UNITS = ["params", "macs", "s12_params", "s12_macs"]


def parse_columns(text: str) -> list[str]:
    """The headings of the columns that ``--columns`` names, with commas between; or of ``all``.

    Raises:
        ConfigError: There is no such column; the message lists all of them.
    """
    words = [word.strip().lower() for word in text.split(",")]
    if words == ["all"]:
        return EVERY
    if "all" in words:
        raise ConfigError(f"--columns {text!r}: all has every column: leave the others out")
    headings = {name: c.heading for c in COLUMNS for name in (c.heading.lower(), c.name)}
    for word in words:
        if word not in headings:
            raise ConfigError(unknown_name("column", word, ["all", *(c.name for c in COLUMNS)]))
    return [headings[word] for word in words]


def row_values(study: Study, row: Row) -> Values:
    """The values of a row of a study."""
    delta, paper, s12 = row.delta, row.paper, row.cost.get("paper") or {}
    also = [] if row.axis == controls.AXIS else naming.other_changes(row.changed)
    bootstrap, failures = row.bootstrap or (None, None), sorted(row.failures.items())
    return {
        **csv_values.study_values(study),
        "ablation": row.axis,
        "variant": row.label,
        "also_changes": "; ".join(also),
        **csv_values.shared_changes(study),
        **csv_values.outcome_values(row),
        "top1_bootstrap_low": bootstrap[0],
        "top1_bootstrap_high": bootstrap[1],
        **csv_values.seed_values(row),
        "delta_mean": delta.mean if delta else None,
        "delta_ci95": delta.half_width if delta else None,
        **csv_values.delta_values(delta),
        "delta_test": csv_values.test_name(delta),
        "p": delta.p if delta else None,
        "p_corrected": delta.p_corrected if delta else None,
        **csv_values.method_values(study, row),
        **_control_values(row),
        "seed_correlation": delta.correlation if delta else None,
        "minimum_effect": row.minimum_effect,
        **csv_values.status_counts(row),
        "failures": "; ".join(f"{count} {kind}" for kind, count in failures),
        "look": row.look_note,
        "missing_seeds": " ".join(map(str, row.missing_seeds)),
        "missing_command": missing.fill_command(study, row),
        **csv_values.cost_values(row),
        **{f"s12_{name}": s12.get(name) for name in ("params", "frozen_params", "macs")},
        **csv_values.fields_of(paper, "params_m", "macs_g", "top1", "delta", prefix="paper_"),
        **csv_values.record_values(row),
    }


def _control_values(row: Row) -> Values:
    """A row's differences from its controls, of each kind of control."""
    values: Values = {}
    found = {each.kind: each for each in row.controls}
    for kind in controls.KINDS:
        control, name = found.get(kind), f"control_{kind.replace(' ', '_')}"
        delta = control.delta if control else None
        values[name] = control.control.label if control else None
        values |= csv_values.interval_values(delta, f"{name}_delta")
        values[f"{name}_n"] = delta.n if delta else 0
    return values


def study_table(
    study: Study,
    style: str = "full",
    columns: Sequence[str] = PAGE,
    all_rows: bool = False,
    selection: RowSelection = ALL_ROWS,
) -> Table:
    """The table of a study, a row a variant.

    Its values: accuracies in percent, differences in points, costs as counts. Those under ``s12_``
    are of the variant at the paper's size and 224 pixels, counted by fvcore; those under ``paper_``
    are the paper's own numbers. Rows without runs have n = 0 and the command that trains them.

    Args:
        study: The study.
        style: ``full``, or ``paper``: the columns of the paper's Table 5.
        columns: The headings of the columns; a column without content is left out.
        all_rows: Whether to add the rows of the paper that the study lacks.
        selection: Which rows, in which order, under which names.
    """
    absent, full = missing.missing_rows(study, all_rows), style == "full"
    every = sorted([*study.rows, *absent], key=row_position)
    rows = selection.choose(study, every)
    absent = [row for row in absent if row in rows]
    by_paper = selection.sort == SORTS[0]
    table = Table(f"Ablation: {study_title(study)}", section=ABLATION if by_paper else None)
    lines = [row_values(study, row) for row in rows]
    units = {name: _largest_unit(line[name] for line in lines) for name in WITH_UNITS}
    verdicts = judge_claims(study) if full else []
    for row, line in zip(rows, lines, strict=True):
        notes = [also_note(row), partial_pairs_note(row) if full else "", controls_note(row)]
        notes.append(f"{row.label}: {row.look_note}." if row.look_note else "")
        name = line["variant"] = selection.name(row.label)
        line |= {f"_{name}": cells.quantity(line[name], unit) for name, unit in units.items()}
        line |= {
            "_row": row,
            "_delta": row.delta,
            "_label": name + table.row_notes.mark(*map(selection.rename, notes)),
            "_paper_delta": "" if row is study.baseline else cells.signed(line["paper_delta"]),
            "_runs": [[record.run_id for record in row.records]],
        }
        if full:
            paper = row.paper.delta if row.paper and row.axis != naming.BASELINE else None
            line["_difference"] = PlottedDifference.of(row.delta, paper)
            line["_badge"] = Badge.of(verdict_of_row(verdicts, row))
        line["_bold"] = {TOP1} if row is study.best else set()
        if row.delta and row.delta.significant:
            line["_bold"] |= {BOTH, "Δ"}
    shown = _full_columns(rows, lines, columns) if full else _paper_columns(units["macs"])
    words = {"ablation": ABLATION, "_label": VARIANT} if by_paper else {"_label": VARIANT}
    table.columns = [*word_columns(**words), *shown]
    table.lines.extend(lines)
    table.footnotes = [
        *_footnotes(study, style, shown),
        *([study.plan_note] if study.plan_note else []),
        *_hidden_note(len(every) - len(rows)),
        *missing.missing_notes(study, absent),
        *provenance.provenance_notes(study),
    ]
    return table


def _largest_unit(counts: Iterable[int | None]) -> str:
    """The unit that suits the largest model, so that rows compare at a glance."""
    largest = max((count or 0 for count in counts), default=0)
    return next((unit for unit, size in cells.UNITS.items() if largest >= size), "M")


def _full_columns(
    rows: Sequence[Row], lines: Sequence[Values], headings: Sequence[str]
) -> list[Column]:
    """The columns with content that were asked for, and those that have a flag of their own."""
    wanted = [*headings, *([BOOTSTRAP] if any(row.bootstrap for row in rows) else [])]
    if any(row.delta and row.delta.images_error is not None for row in rows):
        wanted += OVER_IMAGES
    columns = [BY_HEADING[heading] for heading in dict.fromkeys(wanted)]
    columns = [c for c in columns if c.heading in KEPT or not set(c.texts(lines)) <= NO_CONTENT]
    if not any(row.delta and row.delta.half_width is not None for row in rows):
        alone = replace(BY_HEADING["Δ"], text=cells.row_delta_and_interval)
        columns = [alone if c.heading == BOTH else c for c in columns]
    return columns


def _paper_columns(unit: str) -> list[Column]:
    """The columns of the paper's Table 5."""
    unit, size = ("G", 1e9) if unit == "G" else ("M", 1e6)
    return [
        Column("Params (M)", "params", partial(cells.significant, unit=1e6), COST_NOTE),
        Column(f"MACs ({unit})", "macs", partial(cells.significant, unit=size), COST_NOTE),
        BY_HEADING[TOP1],
    ]


def _footnotes(study: Study, style: str, shown: Sequence[Column]) -> list[str]:
    """How to read the columns, and what the study lacks of a baseline."""
    size = next((side for r in study.records if (side := r.cost.get("image_size"))), "?")
    facts = {"size": size, "seeds": _seeds(study, style), "paper": paper_note(study)}
    facts["errors"] = ERRORS_NOTE
    facts["method"] = method_note(study.comparisons)
    top1_first = sorted(shown, key=lambda column: column.heading != TOP1)
    notes = list(dict.fromkeys(c.note.format(**facts) for c in top1_first if c.note))
    if {BOTH, "Δ"} & {column.heading for column in shown}:
        notes += delta_notes([row.delta for row in study.rows if row.delta])
    if study.best is not None:
        notes.append("Bold top-1: above every other row of two seeds or more, each p below 5%.")
    if any(row.delta and row.delta.significant for row in study.rows):
        notes.append("Bold Δ: the row differs from the baseline, p below 5%.")
    notes += baseline_notes(study, "there are no differences")
    if study.baseline is None and not study.baseline_candidates:
        command = missing.baseline_command(study)
        notes[-1] = CommandNote(f"{notes[-1]} It is trained by `{command}`")
    return notes


def _hidden_note(count: int) -> list[str]:
    """That rows are hidden, which the tests have counted."""
    rows = pluralize(count, "row is", "rows are")
    return [f"{rows} not shown; intervals and p-values are of all rows."] if count else []


def _seeds(study: Study, style: str) -> str:
    """The number of seeds of the means, if no column has it."""
    if style == "full":
        return "n seeds"
    counts = {row.label: row.top1.n for row in study.rows if row.top1}
    most = max(counts.values(), default=0)
    fewer = "; ".join(f"{n} of {label}" for label, n in counts.items() if n != most)
    return f"n = {pluralize(most, 'seed')}" + (f" ({fewer})" if fewer else "")
