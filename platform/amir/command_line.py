"""Settings from a command line: a YAML file, then dotted options over it; every mistake named."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from amir.errors import InputError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Settings = TypeVar("Settings", bound=BaseModel)


def settings_from(
    arguments: Sequence[str],
    kind: type[Settings],
    *,
    shortcuts: Mapping[str, str] | None = None,
) -> Settings:
    """Read `--config FILE.yaml`, lay the dotted options over it, validate.

    shortcuts: further spellings of a setting, such as {"data": "data.path"} for `--data DIR`.
    """
    shortcuts = dict(shortcuts or {})
    fields = dict(leaves(kind))
    given, unknown = _parser(kind, fields, shortcuts).parse_known_args(arguments)
    if unknown:
        raise InputError("invalid_setting", _unknown(unknown[0], [*fields, *shortcuts]))
    values = vars(given)
    file = values.pop("config")
    tree: dict[str, Any] = {}
    # Nested sections first: a dotted name in the file is laid over its section.
    for name, value in sorted(read_yaml(file).items() if file else (), key=_depth):
        set_dotted(tree, name, value)
    for name, text in values.items():
        if text is not None:
            dotted = shortcuts.get(name, name)
            set_dotted(tree, dotted, _value(text, fields[dotted]))
    return validate(kind, tree)


def validate(kind: type[Settings], tree: Mapping[str, Any]) -> Settings:
    """The settings of a nested mapping; InputError says which setting is wrong, and how."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        known = list(dict(leaves(kind)))
        raise InputError(
            "invalid_setting", "; ".join(_sentence(e, known) for e in error.errors())
        ) from None


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting with its dotted name."""
    for name, field in kind.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from leaves(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def flatten(settings: BaseModel) -> dict[str, Any]:
    """Dotted name -> value, as MLflow parameters and Tune spaces spell it."""
    tree = settings.model_dump(mode="json")
    flat: dict[str, Any] = {}
    for name in dict(leaves(type(settings))):
        value: Any = tree
        for part in name.split("."):
            value = value[part]
        flat[name] = value
    return flat


def set_dotted(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """tree["a"]["b"] = value for "a.b", making what is missing or empty on the way."""
    *parents, last = dotted.split(".")
    for parent in parents:
        if tree.get(parent) is None:
            tree[parent] = {}
        tree = tree[parent]
        if not isinstance(tree, dict):
            raise InputError(
                "invalid_setting", f"{parent} is {tree!r}, which leaves no place for {dotted}"
            )
    tree[last] = value


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping of a YAML file."""
    import yaml

    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("missing_file", f"there is no settings file {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError("invalid_setting", f"{path} is not a YAML file: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(
            "invalid_setting", f"{path} holds no settings, but a {type(tree).__name__}"
        )
    return {str(name): value for name, value in tree.items()}


def _depth(setting: tuple[str, Any]) -> int:
    return setting[0].count(".")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError("invalid_setting", f"{message}; see --help")


def _parser(
    kind: type[BaseModel], fields: Mapping[str, FieldInfo], shortcuts: Mapping[str, str]
) -> argparse.ArgumentParser:
    parser = _Parser(description=kind.__doc__, allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE.yaml", help="settings; options override them")
    for short, dotted in shortcuts.items():
        _add(parser, short, fields[dotted], f"same as --{dotted}")
    for name, field in fields.items():
        _add(parser, name, field, _help(field))
    return parser


def _add(parser: argparse.ArgumentParser, name: str, field: FieldInfo, text: str) -> None:
    spellings = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
    several: dict[str, Any] = {"nargs": "+"} if _is_tuple(field) else {}
    # A switch needs no value, but takes one: --flips, --flips false.
    switch: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
    parser.add_argument(
        *spellings, dest=name, metavar="VALUE", help=text.replace("%", "%%"), **several, **switch
    )


def _help(field: FieldInfo) -> str:
    default = "needed" if field.is_required() else f"default {_spelled(field.default)}"
    return f"{field.description} ({default})"


def _spelled(value: Any) -> str:
    """A value as it is written on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(_spelled, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _is_tuple(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _value(text: str | list[str], field: FieldInfo) -> Any:
    """`1 2 3`, `1,2,3` and `[1, 2, 3]` are one list; null is None where a setting can be unset."""
    if isinstance(text, list):
        if get_args(field.annotation)[0] is str:  # a path may hold a comma or a space
            return text
        return [part for word in text for part in word.strip("[]()").replace(",", " ").split()]
    if text == "null" and type(None) in get_args(field.annotation):
        return None
    return text


def _unknown(option: str, known: Sequence[str]) -> str:
    name = option.lstrip("-").split("=")[0]
    close = difflib.get_close_matches(name, known, n=3)
    guess = f" Did you mean --{' or --'.join(close)}?" if close else ""
    return f"unknown setting {option!r}.{guess} Known settings: {', '.join(known)}"


def _sentence(error: ErrorDetails, known: Sequence[str]) -> str:
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown(name, known)
    if error["type"] == "missing":
        return f"{name} is needed: give --{name}"
    reason = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict):  # settings that do not fit each other
        return f"{name}: {reason}" if name else reason
    return f"{name} is {error['input']!r}: {reason}"
