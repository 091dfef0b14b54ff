"""The JSON Schema of a sweep file, for editors: every key with its type, its default and what it means.

Meanings are the texts under the fields of the configuration classes, read from their source, so that there is one
place to write them.
"""

import ast
import inspect
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import TypeAdapter

import ablations.sweep
import ablations.sweep_file
import mm1core.config
from ablations.configuration import FILLED_IN, Leaf, leaves
from ablations.settings import presets
from ablations.sweep import DESIGNS, Objective, Resources
from ablations.sweep_file import SweepFile

ID = "sweep.schema.json"


def sweep_schema() -> dict[str, Any]:
    """A draft 2020-12 schema."""
    settings = {key: _leaf_schema(leaf) for key, leaf in leaves().items()}
    special: Mapping[str, Any] = {
        "base": {"type": "string", "examples": list(presets())},
        "set": _settings_schema(settings),
        "axes": _axes_schema(settings),
        "arms": {"type": "object", "additionalProperties": _settings_schema(settings)},
        "design": _design_schema(),
        "objective": _class_schema(Objective),
        "resources": _class_schema(Resources),
        "baseline": {"type": ["string", "object"]},
    }
    docs = documentation(ablations.sweep_file)["SweepFile"]
    hints = get_type_hints(SweepFile)
    properties = {
        item.name: {**special.get(item.name, _type_schema(hints[item.name])), "description": docs.get(item.name, "")}
        for item in fields(SweepFile)
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "A sweep of ablation experiments",
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": properties,
    }


def print_schema() -> None:
    """Write the schema to standard output."""
    print(json.dumps(sweep_schema(), indent=2))


@cache
def documentation(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """Class name to field name to the text under the field, on one line."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            texts = found.setdefault(node.name, {})
            for item, after in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(item, ast.AnnAssign)
                    and isinstance(item.target, ast.Name)
                    and isinstance(after, ast.Expr)
                    and isinstance(after.value, ast.Constant)
                    and isinstance(after.value.value, str)
                ):
                    texts[item.target.id] = " ".join(after.value.value.split())
    return found


def leaf_documentation(leaf: Leaf) -> str:
    """What a leaf of the configuration means; empty where its name says it."""
    return documentation(mm1core.config)[leaf.owner.__name__].get(leaf.name, "")


def _leaf_schema(leaf: Leaf) -> dict[str, Any]:
    schema = _type_schema(leaf.annotation)
    text = leaf_documentation(leaf)
    if text:
        schema["description"] = text
    schema["default"] = json.loads(json.dumps(leaf.default))
    return schema


def _settings_schema(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys, or the same keys nested in their sections."""
    tree: dict[str, Any] = {}
    for key, schema in settings.items():
        place = tree
        *above, name = key.split(".")
        for section in above:
            place = place.setdefault(section, {"type": "object", "additionalProperties": False, "properties": {}})[
                "properties"
            ]
        place[name] = schema
    return {"type": "object", "additionalProperties": False, "properties": {**settings, **tree}}


def _axes_schema(settings: Mapping[str, Any]) -> dict[str, Any]:
    span = {
        "type": "object",
        "description": "Numbers to draw from, both ends included; for random and search.",
        "required": ["low", "high"],
        "additionalProperties": False,
        "properties": {
            "low": {"type": "number"},
            "high": {"type": "number"},
            "log": {"type": "boolean"},
            "step": {"type": "number"},
        },
    }
    properties = {
        key: {
            "description": schema.get("description", ""),
            "anyOf": [
                {"type": "array", "minItems": 1, "items": schema},
                span,
                {"type": "object", "minProperties": 1, "additionalProperties": schema},
            ],
        }
        for key, schema in settings.items()
        if leaves()[key].identity
    }
    coupled = {
        "description": "Several keys that vary together: lists of one value for each, or label: list.",
        "anyOf": [
            {"type": "array", "minItems": 1, "items": {"type": "array"}},
            {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array"}},
        ],
    }
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": {",": coupled},
        "additionalProperties": False,
    }


def _design_schema() -> dict[str, Any]:
    options: list[dict[str, Any]] = [{"enum": [name for name, kind in DESIGNS.items() if not fields(kind)]}]
    for name, kind in DESIGNS.items():
        schema = _class_schema(kind)
        schema["properties"] = {"kind": {"const": name}, **schema["properties"]}
        schema["required"] = ["kind", *schema.get("required", [])]
        options.append(schema)
    return {"anyOf": options, "default": SweepFile.design}


def _class_schema(kind: type) -> dict[str, Any]:
    docs, hints = documentation(ablations.sweep).get(kind.__name__, {}), get_type_hints(kind)
    assert is_dataclass(kind)
    properties: dict[str, Any] = {}
    for item in fields(kind):
        properties[item.name] = {**_type_schema(hints[item.name]), "description": docs.get(item.name, "")}
        if item.default is not MISSING:
            properties[item.name]["default"] = item.default
    required = [item.name for item in fields(kind) if item.default is MISSING]
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": required} if required else schema


def _type_schema(annotation: Any) -> dict[str, Any]:
    """The schema of a declared type, definitions written out in place."""
    schema = TypeAdapter(annotation).json_schema()
    definitions = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            return _described(resolved(definitions[name]), documentation(mm1core.config).get(name, {}))
        return {key: resolved(value) for key, value in node.items() if not (key == "title" and isinstance(value, str))}

    found: dict[str, Any] = resolved(schema)
    return found


def _described(schema: dict[str, Any], docs: Mapping[str, str]) -> dict[str, Any]:
    """A class's schema with what its fields mean, without those nobody writes."""
    properties = {
        name: {**inner, "description": docs[name]} if name in docs else inner
        for name, inner in schema["properties"].items()
        if name not in FILLED_IN
    }
    return {**schema, "properties": properties, "additionalProperties": False}
