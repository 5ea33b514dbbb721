"""What files of results must hold: JSON that is checked against types, here and nowhere else.

Types of a config are those of its dataclasses; what a mapping has beside them is not checked.
"""

from __future__ import annotations

import functools
import json
import types
from dataclasses import fields
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict, is_typeddict

from ablations.config.schema import DataConfig, OptimConfig, SystemConfig
from ablations.errors import SchemaError
from poolformer.config import MetaFormerConfig

_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what every reader of JSON takes
_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_OptionalText = str | None
_STRICT = ConfigDict(strict=True)  # the text "3" is no number
_RULES = {
    "int_type": "is not a whole number",
    "float_type": "is not a number",
    "finite_number": "is not finite",
    "string_type": "is not a text",
    "bool_type": "is not true or false",
    "dict_type": "is not a mapping",
    "list_type": "is not a list",
    "tuple_type": "is not a list",
    "greater_than_equal": "is too small",
    "less_than": "is too large",
}
_SHOWN_CHARACTERS = 40  # characters of a wrong value


def _bounded(hint: Any) -> Any:
    """A type with each of its numbers in the range of JSON."""
    if hint in (int, float):
        return _Int64 if hint is int else _Finite
    inner = tuple(_bounded(part) for part in get_args(hint))
    if isinstance(hint, types.UnionType):
        return Union[inner]  # noqa: UP007
    return get_origin(hint)[inner] if inner else hint


@functools.cache
def mapping_of(kind: type, without: tuple[str, ...] = (), total: bool = True) -> Any:
    """A mapping with the fields of a dataclass.

    Args:
        kind: The dataclass.
        without: Fields that are left out.
        total: Whether all fields must be there.
    """
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind) if item.name not in without]
    typed: Any = TypedDict
    found = typed(kind.__name__, {name: _bounded(hints[name]) for name in names}, total=total)
    found.__pydantic_config__ = _STRICT
    return found


class SystemJson(TypedDict, total=False):
    """What a config may have."""

    system: mapping_of(SystemConfig, total=False)  # type: ignore[valid-type]


class ConfigJson(SystemJson):
    """A RunConfig; fields of its groups may be missing, as in records of older versions."""

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
    """What a run was trained on."""

    fingerprint: _OptionalText
    contents: _OptionalText
    classes: _Count
    train: _Count
    val: _Count


class EnvironmentJson(TypedDict, total=False):
    """Where a run was trained."""

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


class LogJson(TypedDict, total=False):
    """What a failure has beside its kind and message."""

    log: _OptionalText


class FailureJson(LogJson):
    """Why a run failed."""

    kind: str
    message: str


class RecordBodyJson(TypedDict, total=False):
    """What a record may have."""

    metrics: dict[str, dict[str, _Finite]]
    cost: CostJson
    timing: dict[str, _Seconds]
    data: DataJson
    environment: EnvironmentJson
    tracker: dict[str, _OptionalText]
    failure: FailureJson | None


class RecordJson(RecordBodyJson):
    """A record: ``<run_id>/record.json``."""

    run_id: str
    status: Literal["finished", "diverged", "failed"]
    config: ConfigJson


class RunStateJson(TypedDict):
    """The state of a run that has no record yet: ``<run_id>/begun.json``."""

    run_id: str
    config: ConfigJson
    tracker: dict[str, _OptionalText]
    stopped: bool


class HistoryJson(TypedDict):
    """The history in a checkpoint; of a diverged run some values are not finite."""

    rows: list[dict[str, float]]


class CallbacksJson(TypedDict):
    """What callbacks keep in a checkpoint."""

    History: HistoryJson


class VersionsJson(TypedDict, total=False):
    """What a checkpoint may have."""

    code: dict[str, str]
    plugins: dict[str, str]


class CheckpointJson(VersionsJson):
    """What a start of a run reads of ``<run_id>/last.ckpt``; its tensors are torch's to check."""

    run_id: str
    epoch: _Count
    fingerprint: str
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
    """The values of JSON of a kind.

    Raises:
        SchemaError: It is none, a key is given twice, or it is of another kind.
    """
    tree = parse_json(content, kind)
    validate_json(content, kind)
    return tree


def parse_json(content: bytes, kind: Any) -> Any:
    """The values of JSON that is to be of a kind, which is not checked.

    Raises:
        SchemaError: It is none, or a key is given twice.
    """
    try:
        tree = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        validate_json(content, kind)  # which knows NaN, and says where
        raise SchemaError(str(error)) from error
    # Only where the same values, written again, have fewer colons it is worth a slow look.
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
    """Raise SchemaError unless JSON is of a kind, as one of this module's or ``shape``'s."""
    try:
        _adapter(kind).validate_json(content)
    except ValidationError as error:
        raise SchemaError(_first_problem(error)) from error


def validate_values(tree: Any, kind: Any) -> None:
    """The same for values that do not come from JSON."""
    try:
        _adapter(kind).validate_python(tree)
    except ValidationError as error:
        raise SchemaError(_first_problem(error)) from error


def _first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, in words: where, the value, what it must be."""
    first = error.errors(include_url=False)[0]
    # Which member of a union was tried is part of the place.
    where = ".".join(part for part in map(str, first["loc"]) if part != "str" and "[" not in part)
    if first["type"] in ("missing", "json_invalid"):
        told = "is missing" if first["type"] == "missing" else first["msg"]
        return f"{where} {told}".strip()
    value = repr(first["input"])
    value = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}..."
    rule = _RULES.get(first["type"]) or f"is wrong: {first['msg']}"
    return f"{where} {value} {rule}".strip()
