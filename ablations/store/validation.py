"""The types of the JSON files in a results folder, and their validation by pydantic.

The fields of a config have the types of its dataclasses. Unknown keys of a mapping are not checked.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from dataclasses import fields
from typing import Annotated, Any, Literal, NotRequired, Required

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict, is_typeddict

from ablations.config.schema import DataConfig, OptimConfig, SystemConfig
from ablations.errors import SchemaError
from poolformer.config import MetaFormerConfig

_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # the range that every JSON reader accepts
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Positive = Annotated[int, Field(ge=1, lt=2**63)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_OptionalText = str | None
_STRICT = ConfigDict(strict=True)  # the text "3" is not a number
_SHOWN_CHARACTERS = 40  # of an invalid value


def _bounded(hint: Any) -> Any:
    """A type with each of its numbers in the range of JSON."""
    if hint in (int, float):
        return _Int64 if hint is int else _Finite
    inner = tuple(_bounded(part) for part in typing.get_args(hint))
    if isinstance(hint, types.UnionType):
        return typing.Union[inner]  # noqa: UP007
    return typing.get_origin(hint)[inner] if inner else hint


@functools.cache
def mapping_of(kind: type, without: tuple[str, ...] = (), total: bool = True) -> Any:
    """The type of a mapping with the fields of a dataclass.

    Args:
        kind: The dataclass.
        without: Fields to leave out.
        total: Whether all fields are required.
    """
    hints = typing.get_type_hints(kind)
    names = [item.name for item in fields(kind) if item.name not in without]
    typed: Any = TypedDict
    mapping = typed(kind.__name__, {name: _bounded(hints[name]) for name in names}, total=total)
    mapping.__pydantic_config__ = _STRICT
    return mapping


class ConfigJson(TypedDict):
    """A RunConfig. `schema.with_defaults` adds the fields that are missing."""

    system: NotRequired[mapping_of(SystemConfig, total=False)]  # type: ignore[valid-type]
    model: mapping_of(MetaFormerConfig, total=False)  # type: ignore[valid-type]
    data: mapping_of(DataConfig, total=False)  # type: ignore[valid-type]
    optim: mapping_of(OptimConfig, total=False)  # type: ignore[valid-type]
    seed: _Int64
    recipe: str


class ModelCostJson(TypedDict, total=False):
    """The cost of a model."""

    params: _Count
    frozen_params: _Count
    macs: _Count
    image_size: _Count


class CostJson(ModelCostJson, total=False):
    """The cost of a run."""

    paper: ModelCostJson | None


class DataJson(TypedDict, total=False):
    """The data set of a run."""

    fingerprint: _OptionalText
    contents: _OptionalText
    classes: _Count
    train: _Count
    val: _Count


class EnvironmentJson(TypedDict, total=False):
    """The environment in which a run was trained."""

    precision: _OptionalText
    device: _OptionalText
    devices: list[str]
    commit: _OptionalText
    date: _OptionalText
    platform: _OptionalText
    python: _OptionalText
    threads: _Count | None
    versions: dict[str, str]
    plugins: dict[str, str]


class FailureJson(TypedDict):
    """Why a run failed."""

    log: NotRequired[_OptionalText]
    kind: str
    message: str


class RecordJson(TypedDict, total=False):
    """A record: ``<run_id>/record.json``."""

    metrics: dict[str, dict[str, _Finite]]
    cost: CostJson
    timing: dict[str, _NonNegative]
    data: DataJson
    environment: EnvironmentJson
    tracker: dict[str, _OptionalText]
    failure: FailureJson | None
    run_id: Required[str]
    status: Required[Literal["finished", "diverged", "failed"]]
    config: Required[ConfigJson]


class RunStateJson(TypedDict):
    """The state of a run that has no record yet: ``<run_id>/begun.json``."""

    run_id: str
    config: ConfigJson
    tracker: dict[str, _OptionalText]
    stopped: bool


class ProgressJson(TypedDict):
    """How far a run is: ``<run_id>/progress.json``."""

    epoch: _Positive
    epochs: _Positive
    phase: Literal["training", "validating"]
    batch: _Count
    batches: _Count
    fraction: _Fraction
    images_per_second: _NonNegative | None
    seconds_left: _NonNegative | None


class HistoryJson(TypedDict):
    """The history in a checkpoint; values of a diverged run may be infinite or NaN."""

    rows: list[dict[str, float]]
    predicted: Any  # a tensor


class CallbacksJson(TypedDict):
    """The state of callbacks in a checkpoint."""

    History: HistoryJson


class CheckpointJson(TypedDict):
    """The fields of ``<run_id>/last.ckpt`` that a resumed run reads, except tensors."""

    code: NotRequired[dict[str, str]]
    plugins: NotRequired[dict[str, str]]
    run_id: str
    epoch: _Count
    fingerprint: str
    precision: str
    diverged: bool
    state_dict: dict[str, Any]
    callbacks: CallbacksJson


for _kind in list(globals().values()):
    if is_typeddict(_kind):
        setattr(_kind, "__pydantic_config__", _STRICT)  # noqa: B010


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_json(content: bytes, kind: Any) -> Any:
    """The validated values of a JSON text.

    Raises:
        SchemaError: It is not JSON, has a key twice, or is not of this type.
    """
    tree = parse_json(content, kind)
    validate_json(content, kind)
    return tree


def parse_json(content: bytes, kind: Any) -> Any:
    """The values of a JSON text; only a text that is not JSON is validated, for the message.

    Raises:
        SchemaError: It is not JSON, or has a key twice.
    """
    try:
        tree = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        validate_json(content, kind)  # pydantic accepts NaN, and names the field
        raise SchemaError(str(error)) from error
    # A duplicate key is lost when the values are written again: the text has more colons.
    if content.count(b":") != orjson.dumps(tree).count(b":"):
        json.loads(content, object_pairs_hook=_reject_duplicate_keys)
    return tree


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise SchemaError(f"the key {name!r} is given twice")
        found[name] = value
    return found


def validate_json(content: bytes, kind: Any) -> None:
    """Raise SchemaError unless a JSON text is of a type of this module or of ``mapping_of``."""
    try:
        _adapter(kind).validate_json(content)
    except ValidationError as error:
        raise SchemaError(_first_problem(error)) from error


def validate_values(tree: Any, kind: Any) -> None:
    """Raise SchemaError unless Python values are of a type of this module or of ``mapping_of``."""
    try:
        _adapter(kind).validate_python(tree)
    except ValidationError as error:
        raise SchemaError(_first_problem(error)) from error


def _first_problem(error: ValidationError) -> str:
    """The first invalid value: where it is, what it is, and which rule it breaks."""
    first = error.errors(include_url=False)[0]
    # pydantic adds the tried member of a union to the location: leave that out.
    where = ".".join(part for part in map(str, first["loc"]) if part != "str" and "[" not in part)
    if first["type"] == "missing":
        return f"{where} is missing".strip()
    rule = first["msg"].removeprefix("Input ")
    if first["type"] == "json_invalid":
        return f"{where} {rule}".strip()
    value = repr(first["input"])
    if len(value) > _SHOWN_CHARACTERS:
        value = f"{value[:_SHOWN_CHARACTERS]}..."
    return f"{where} {value} {rule}".strip()
