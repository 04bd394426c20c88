"""Reads a TOML file into a strict, frozen model, and explains what is wrong with it."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from tsp.core.errors import Invalid


class Strict(BaseModel):
    """A table of a reviewed file: frozen, unknown keys refused, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=Strict)


def read_toml(path: Path, model: type[Model], code: str) -> Model:
    """The file as a `model`.

    Raises `Invalid` with `code`; the sentence names file and key, and for an unknown key the nearest known.
    """
    return parse_toml(toml_octets(path, code), path.name, model, code)


def toml_octets(path: Path, code: str) -> bytes:
    """The file as it is, for whoever must know that what is parsed is what was approved; `Invalid` with `code`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise Invalid(code, f"{path.name}: the file does not exist", file=path.name) from None
    except OSError as error:
        raise Invalid(code, f"{path.name}: cannot be read: {error.strerror}", file=path.name) from error


def parse_toml(octets: bytes, name: str, model: type[Model], code: str) -> Model:
    """These octets as a `model`; `name` is what errors call them. Raises as `read_toml`."""
    try:
        raw = tomllib.loads(octets.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(code, f"{name}: not TOML: {error}", file=name) from None
    try:
        return model.model_validate(_frozen(raw))
    except ValidationError as error:
        why = "; ".join(_explain(model, detail) for detail in error.errors())
        raise Invalid(code, f"{name}: {why}", file=name) from None


def _frozen(value: Any) -> Any:
    """Arrays as tuples, so that a frozen model is frozen all the way down."""
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(inner) for inner in value)
    return value


def _explain(model: type[BaseModel], detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg']}" if where else str(detail["msg"])
    known = _known(model, detail["loc"][:-1])
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    return f"{where}: unknown key, " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _known(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)
