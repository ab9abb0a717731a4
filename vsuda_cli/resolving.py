"""Where a run's settings come from: option, file, preset; and how they are written and compared."""

import dataclasses
import difflib
import json
import tomllib
import typing
from pathlib import Path
from typing import Any, TypeVar

from vsuda_cli.config import (
    CURVE,
    METHODS,
    SMALL,
    SMALL_THREE_DIMENSIONAL,
    THREE_DIMENSIONAL,
    Training,
    TranslationSettings,
)
from vsuda_cli.errors import VsudaError
from vsuda_cli.sensible import refuse_senseless

Settings = TypeVar("Settings", bound=Training)

PRESETS = ("paper", "small")


def resolve(
    kind: type[Settings],
    *,
    preset: str,
    file: Path | None = None,
    values: dict[str, Any] | None = None,
    set_values: list[str] | None = None,
) -> Settings:
    """Return settings: `values` (options, None where unset) and `set_values` > file > preset.

    Raises VsudaError for an unknown preset, key, or a value of the wrong type.
    """
    if preset not in PRESETS:
        raise VsudaError(f"--preset {preset}", "is unknown", f"use {' or '.join(PRESETS)}")
    chosen = {key: value for key, value in (values or {}).items() if value is not None}
    chosen.update(_parse_assignment(text) for text in set_values or [])
    from_file = _flatten(_read_toml(file)) if file else {}
    base: dict[str, Any] = {}
    if kind is TranslationSettings:
        method = chosen.get("method", from_file.get("method", TranslationSettings.method))
        dims = chosen.get("dims", from_file.get("dims", TranslationSettings.dims))
        base.update(_method_values(str(method), dims))
        if preset == "small":
            base.update(SMALL[kind])
            base.update(SMALL_THREE_DIMENSIONAL if dims == 3 else {})
        base.update(CURVE if method == "curve" else {})
    elif preset == "small":
        base.update(SMALL[kind])
    settings = _updated(from_flat(kind, base, f"--preset {preset}"), from_file, file)
    settings = _updated(settings, chosen, "--set")
    refuse_senseless(to_flat(settings))
    return settings


def _method_values(method: str, dims: object) -> dict[str, Any]:
    if method not in METHODS:
        raise VsudaError(f"--method {method}", "is unknown", f"use one of {', '.join(METHODS)}")
    if dims not in (2, 3):
        raise VsudaError(f"--dims {dims}", "is neither 2 nor 3", "use 2 or 3")
    return {**METHODS[method], **(THREE_DIMENSIONAL if dims == 3 else {})}


def to_dict(settings: Any) -> dict[str, Any]:
    """Return settings as nested plain dictionaries and lists, ready for TOML and JSON."""
    # TOML and JSON know lists, and no tuples.
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return plain


def to_flat(settings: Any) -> dict[str, Any]:
    """Return settings by the names that --set takes: `{"unet.dropout": 0.1, ...}`."""
    return _flatten(to_dict(settings))


def from_dict(kind: type[Settings], nested: dict[str, Any], source: object) -> Settings:
    """Build settings from nested dictionaries; every unknown or ill-typed key is refused."""
    return from_flat(kind, _flatten(nested), source)


def from_flat(kind: type[Settings], values: dict[str, Any], source: object) -> Settings:
    """Build settings from `{"unet.dropout": 0.2, ...}`; `source` is named in errors."""
    return _updated(kind(), values, source)


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return one `key: old -> new` line for each setting that differs."""
    a, b = _flatten(old), _flatten(new)
    return [f"{k}: {a.get(k)} -> {b.get(k)}" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]


def _updated(settings: Settings, values: dict[str, Any], source: object) -> Settings:
    changed: Any = settings
    for key, value in values.items():
        changed = _replaced(changed, key.split("."), value, f"{source}: {key}")
    return typing.cast(Settings, changed)


def _replaced(settings: Any, path: list[str], value: Any, where: str) -> Any:
    name, *rest = path
    known = [field.name for field in dataclasses.fields(settings)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {near[0]}? --dry-run lists all" if near else "--dry-run lists all"
        raise VsudaError(where, "is no setting of this command", remedy)
    current = getattr(settings, name)
    if rest:
        if not dataclasses.is_dataclass(current):
            raise VsudaError(where, "has no parts", f"set {name} itself")
        return dataclasses.replace(settings, **{name: _replaced(current, rest, value, where)})
    hint = typing.get_type_hints(type(settings))[name]
    return dataclasses.replace(settings, **{name: _typed(hint, value, where)})


def _typed(hint: Any, value: Any, where: str) -> Any:
    """Return `value` in the type of the `hint`; lists become tuples, 1 may mean 1.0."""
    kind = typing.get_origin(hint) or hint
    if kind is tuple and isinstance(value, (list, tuple)):
        parts = typing.get_args(hint)
        if parts[-1] is Ellipsis:
            parts = (parts[0],) * len(value)
        if len(parts) != len(value):
            raise VsudaError(where, f"has {len(value)} values", f"give {len(parts)}")
        return tuple(_typed(part, item, where) for part, item in zip(parts, value, strict=True))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise VsudaError(where, f"is {value!r}", f"give {_described(hint)}")
    return value


def _described(hint: Any) -> str:
    """Return what a setting of a type takes, in words."""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    if hint in words:
        return words[hint]
    parts = typing.get_args(hint)
    if not parts:
        return f"its parts, as {dataclasses.fields(hint)[0].name}"
    return "a list [...]" if parts[-1] is Ellipsis else f"a list of {len(parts)}, [...]"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise VsudaError(path, "does not exist", "check the path") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise VsudaError(path, f"cannot be read as TOML ({error})", "correct the file") from error


def _parse_assignment(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise VsudaError(f"--set {text}", "is not KEY=VALUE", "write e.g. unet.dropout=0.2")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
