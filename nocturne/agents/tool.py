"""A tool as the server offers it: arguments that it does not have are refused, errors are told as data, once."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from inspect import cleandoc
from types import MappingProxyType
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from nocturne.agents.answers import Answer
from nocturne.agents.strangers import LONGEST, escaped, marked
from nocturne.core.errors import NocturneError, UsageError, place_of

_log = logging.getLogger(__name__)

LONGEST_DETAIL = 5 * LONGEST
MOST_PROBLEMS = 5

_TITLES = frozenset({"title"})
"""Titles of a schema repeat the names of members."""


class CheckedTool(Tool):
    """A tool whose refusals quote nothing of what was sent."""

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """Run the tool.

        Raises:
            ToolError: the arguments are not as the schema says, or the tool says what is wrong.
        """
        try:
            return await super().run(arguments, context, convert_result)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError(told(_not_valid(self.name, error.__cause__))) from None
            if isinstance(error.__cause__, ToolError):
                raise ToolError(str(error.__cause__)) from None  # without the words that the SDK puts before it
            raise


def as_tool(
    function: Callable[..., Awaitable[Answer]],
    title: str,
    *,
    changes: bool = False,
    schemas: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Tool:
    """A tool of a function: its docstring tells agents when to call it, its answer's type is the schema of its output.

    Args:
        title: for people.
        changes: True if it changes what listeners get.
        schemas: by argument that is an object checked by the function itself, its JSON schema.
    """

    @wraps(function)
    async def call(*arguments: Any, **named: Any) -> CallToolResult:
        try:
            answer = await function(*arguments, **named)
        except NocturneError as error:
            raise ToolError(told(error)) from None
        except Exception as error:  # noqa: BLE001 - the last place that can answer
            _log.error("an error that nobody foresaw: %s", place_of(error))
            raise ToolError("an error that nobody foresaw; the log of this server has its place") from None
        structured = answer.to_json()
        text = json.dumps(structured, ensure_ascii=False, separators=(",", ":"))
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)

    annotations = ToolAnnotations(
        title=title,
        read_only_hint=not changes,
        destructive_hint=changes,
        idempotent_hint=not changes,
        open_world_hint=False,
    )
    tool = CheckedTool.from_function(
        call, title=title, description=cleandoc(function.__doc__ or ""), annotations=annotations
    )
    arguments = tool.fn_metadata.arg_model
    arguments.model_config["extra"] = "forbid"
    arguments.model_rebuild(force=True)
    tool.parameters = without(arguments.model_json_schema(by_alias=True), _TITLES)
    for name, schema in schemas.items():
        _describe(tool.parameters, name, schema)
    tool.fn_metadata.output_schema = without(tool.fn_metadata.output_schema or {}, _TITLES)
    return tool


def _not_valid(tool: str, error: ValidationError) -> UsageError:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    found = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems]
    return UsageError(
        "the arguments are not valid", where=tool, found="; ".join(found[:MOST_PROBLEMS]), fix="look at the schema"
    )


def _describe(parameters: dict[str, Any], name: str, schema: Mapping[str, Any]) -> None:
    """Put the schema of an object in the place of an argument's own; its definitions go to those of all arguments."""
    definitions = {**parameters.get("$defs", {}), **schema.get("$defs", {})}
    own = {key: value for key, value in schema.items() if not key.startswith("$")}
    parameters["$defs"] = definitions | {name: own}
    argument = parameters["properties"][name]
    described = {key: argument[key] for key in ("description", "default") if key in argument}
    anything_else = [{"type": "string"}, {"type": "null"}]
    parameters["properties"][name] = {"anyOf": [{"$ref": f"#/$defs/{name}"}, *anything_else]} | described


def without(schema: Any, keywords: frozenset[str]) -> Any:
    """A JSON schema without some of its keywords: agents read all of it at every start."""
    if isinstance(schema, list):
        return [without(each, keywords) for each in schema]
    if not isinstance(schema, dict):
        return schema
    named = {"properties", "$defs"}
    return {
        key: {name: without(each, keywords) for name, each in value.items()}
        if key in named
        else without(value, keywords)
        for key, value in schema.items()
        if not (key in keywords and not isinstance(value, dict))
    }


def told(error: NocturneError) -> str:
    """An error in one line: the sentence is ours, the details may quote strangers and are marked."""
    fix = error.details.get("what to do", "")
    details = [
        f"{name}: {marked(text, LONGEST_DETAIL)}" for name, text in error.details.items() if name != "what to do"
    ]
    return "; ".join([escaped(error.what), *details, *([f"what to do: {escaped(fix)}"] if fix else [])])
