"""Pages that the code writes: commands, configuration fields, recipes, contributing, changelog."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ablations.cli.field_help import field_reference
from ablations.cli.main import build_parser
from ablations.config.resolve import RECIPES, preset_names, recipe_names, resolve

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {
        "reference/commands.md": "\n".join(_commands()),
        "reference/config.md": "\n".join(_fields()),
        "reference/recipes.md": "\n".join(_recipes()),
        "contributing.md": _repository_page("CONTRIBUTING.md"),
        "changelog.md": _repository_page("CHANGELOG.md"),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def _repository_page(name: str) -> str:
    """A Markdown file of the repository; links to files outside the site become plain text."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text)


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield (
        "Exit code 0: success. 1: something ran and failed. 2: the input was wrong, and one line "
        "says what and which values are valid. 130, 143 and 129: stopped by SIGINT, SIGTERM or "
        "SIGHUP.\n"
    )
    yield (
        "Any [configuration field](config.md) is a flag of `train`, `run`, `plan`, `eval`, "
        "`profile` and `bench` as well.\n"
    )
    yield from _parser(build_parser(), 2)


def _parser(command: argparse.ArgumentParser, level: int) -> Iterator[str]:
    for action in command._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for inner in action.choices.values():
            yield f"{'#' * level} {inner.prog}\n"
            yield f"{inner.description or ''}\n"
            yield from _arguments(inner)
            yield from _parser(inner, level + 1)


def _arguments(command: argparse.ArgumentParser) -> Iterator[str]:
    shown = [
        action
        for action in command._actions
        if not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    ]
    if not shown:
        return
    yield "| Argument | Meaning |\n|---|---|"
    for action in shown:
        names = ", ".join(action.option_strings) or action.dest
        listed = f"{{{','.join(action.choices)}}}" if action.choices else action.dest.upper()
        value = "" if action.nargs == 0 else f" {action.metavar or listed}"
        spelled = f"{names}{value if action.option_strings else ''}"
        text = (action.help or "").replace("|", "\\|").replace("%%", "%").replace("<", "&lt;")
        yield f"| `{spelled}` | {text} |".replace("$", "&#36;")
    yield ""


def _fields() -> Iterator[str]:
    yield "# Configuration fields\n"
    yield (
        "Each field is a flag of the commands (`--model.pool_size 5`), a parameter of a sweep file "
        "(`model.pool_size: {values: [3, 5]}`) and a key of a recipe. The defaults here are those "
        "of the recipe `mini`; [recipes](recipes.md) has the others.\n"
    )
    for group, fields in field_reference("mini").items():
        yield f"## {group}\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|"
        for field in fields:
            kind = field.kind.replace("|", " or ")
            meaning = field.meaning.replace("|", "\\|").replace("<", "&lt;")
            yield f"| `{field.name}` | {kind} | `{field.default}` | {meaning} |"
        yield ""


def _recipes() -> Iterator[str]:
    yield "# Recipes\n"
    yield (
        "A recipe is a bundle of defaults (`--recipe NAME`). A preset is a named set of changes to "
        "it (`--preset NAME`, or `preset` as a parameter of a sweep).\n"
    )
    for name in recipe_names():
        text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
        comment = " ".join(
            line.lstrip("# ") for line in takewhile(lambda line: line[0] == "#", text.splitlines())
        )
        yield f"## {name}\n\n{comment}\n"
        yield "Presets: " + ", ".join(f"`{preset}`" for preset in preset_names(name)) + ".\n"
        values = resolve(name, {"model.num_classes": 10} if "imagen" in name else {}).to_json()
        groups = {group: values[group] for group in ("model", "data", "optim")}
        body = yaml.safe_dump(groups, sort_keys=False, default_flow_style=None)
        yield '??? note "All values"\n'
        yield textwrap.indent(f"```yaml\n{body}```\n", "    ")
