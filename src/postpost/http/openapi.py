"""The description of the API: an OpenAPI 3.1 document built from the routes' own data, and a page to read it on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal

import msgspec
from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from postpost.errors import CATALOGUE, LIMITS, LimitBody
from postpost.http.transport import JSON_TYPE

Document = dict[str, Any]

JSON_MEDIA_TYPE: Final = JSON_TYPE.partition(";")[0]
FORM_MEDIA_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data")

_SCHEMA_REF: Final = "#/components/schemas/{name}"
_LIMIT_SCHEMA: Final = "LimitExceeded"
_EVERY_ROUTE: Final = ("T6", "T7", "T8")
_EVERY_KEY: Final = ("A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A10", "A11")
_EVERY_BODY: Final = ("T3", "T4", "T5")

_ERROR_SCHEMA: Final[Document] = {
    "title": "Error",
    "description": "Why the request was not carried out. `error` is an exact sentence of the tables of errors.",
    "type": "object",
    "properties": {
        "error": {"type": "string", "minLength": 1},
        "message": {"type": "string", "description": "A longer text for people, with some errors."},
    },
    "required": ["error"],
}
_KEY_HEADERS: Final = ("ActingAccount", "Client")
_PARAMETERS: Final[Document] = {
    "ActingAccount": {
        "name": "x-postpost-user-id",
        "in": "header",
        "required": False,
        "description": "Act for this managed user: 24 hexadecimal digits. Blank counts as absent.",
        "schema": {"type": "string", "pattern": "^([0-9a-fA-F]{24})?$"},
    },
    "Client": {
        "name": "x-postpost-client",
        "in": "header",
        "required": False,
        "description": "`mcp` asks for the MCP entitlement besides API access; every other value means `api`.",
        "schema": {"type": "string"},
    },
    "RequestId": {
        "name": "x-request-id",
        "in": "header",
        "required": False,
        "description": "1 to 128 visible ASCII characters that the answer repeats; otherwise one is made.",
        "schema": {"type": "string"},
    },
}
_HEADERS: Final[Document] = {
    "x-request-id": {
        "required": True,
        "description": "Names this request in the server's log.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {
        "required": True,
        "description": "Whole seconds to wait before another try.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
}
_SECURITY_SCHEME: Final[Document] = {
    "type": "apiKey",
    "in": "header",
    "name": "x-api-key",
    "description": "An API key: `sk_<time>_<id>.<secret>`.",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the path, the query or a header; `schema` is JSON Schema."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Mapping[str, Any]
    required: bool = False
    example: str | None = None


@dataclass(frozen=True, slots=True)
class RouteDoc:
    """What is to be said about one route.

    `path` is written `/get-post/{postGroupId}`. `errors` names rows of the catalogue (`C1`) and limits (`E1`); the
    rows of transport and authentication are added by `build`. `body` is what clients should send: the routes read
    more leniently. `body_required` is for the document alone: an empty body is always read as `{}`.
    """

    method: str
    path: str
    summary: str
    response: type[msgspec.Struct]
    errors: Sequence[str] = ()
    description: str = ""
    parameters: Sequence[Parameter] = ()
    body: type[msgspec.Struct] | None = None
    body_media_types: Sequence[str] = (JSON_MEDIA_TYPE,)
    body_required: bool = True
    body_example: Mapping[str, Any] | None = None
    response_example: Mapping[str, Any] | None = None
    status: int = 200
    tag: str = "Posts"
    needs_key: bool = True


def build(routes: Sequence[RouteDoc], *, version: str, server: str = "/") -> Document:
    """Return the OpenAPI 3.1 document of `routes`; `server` is the address that their paths are relative to.

    Raises KeyError for an error id that is neither in the catalogue nor among the limits.
    """
    structs: dict[type[msgspec.Struct], None] = {LimitBody: None}
    for route in routes:
        structs.update(dict.fromkeys(struct for struct in (route.body, route.response) if struct))
    references, schemas = msgspec.json.schema_components(list(structs), ref_template=_SCHEMA_REF)
    by_struct = dict(zip(structs, references, strict=True))
    schemas[_LIMIT_SCHEMA] = {**schemas.pop(LimitBody.__name__), "title": _LIMIT_SCHEMA}
    paths: dict[str, Document] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_struct)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PostPost",
            "version": version,
            "description": "Schedules and publishes posts to ten social platforms and reports what became of each.",
        },
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR_SCHEMA, **schemas},
            "parameters": _PARAMETERS,
            "headers": _HEADERS,
            "securitySchemes": {"apiKey": _SECURITY_SCHEME},
        },
    }


def docs_page(document: Document) -> str:
    """Return the document as one HTML page that needs no script and nothing from elsewhere."""
    return _environment().get_template("api.html").render(doc=document, operations=list(_operations(document)))


def _operation(route: RouteDoc, by_struct: Mapping[type[msgspec.Struct], Document]) -> Document:
    parameters = [_parameter(parameter) for parameter in route.parameters]
    common = (*_KEY_HEADERS, "RequestId") if route.needs_key else ("RequestId",)
    parameters += [{"$ref": f"#/components/parameters/{name}"} for name in common]
    operation: Document = {
        "operationId": f"{route.method.lower()}{re.sub('[^A-Za-z0-9]+', '-', route.path).rstrip('-')}",
        "summary": route.summary,
        "description": route.description,
        "tags": [route.tag],
        "parameters": parameters,
    }
    if route.body is not None:
        content: Document = {"schema": by_struct[route.body]}
        if route.body_example is not None:
            content["example"] = route.body_example
        operation["requestBody"] = {
            "required": route.body_required,
            "content": dict.fromkeys(route.body_media_types, content),
        }
    answer: Document = {"schema": by_struct[route.response]}
    if route.response_example is not None:
        answer["example"] = route.response_example
    operation["responses"] = {
        str(route.status): {
            "description": HTTPStatus(route.status).phrase,
            "headers": _header_references("x-request-id"),
            "content": {JSON_MEDIA_TYPE: answer},
        },
        **_error_responses(_row_ids(route)),
    }
    operation["security"] = [{"apiKey": []}] if route.needs_key else []
    return operation


def _parameter(parameter: Parameter) -> Document:
    described: Document = {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.required or parameter.where == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }
    if parameter.example is not None:
        described["example"] = parameter.example
    return described


def _row_ids(route: RouteDoc) -> list[str]:
    """Return all rows that the route can answer: its own, then those of authentication and transport."""
    ids = [*route.errors]
    if route.needs_key:
        ids += _EVERY_KEY
    if route.body is not None:
        ids += _EVERY_BODY
        if set(FORM_MEDIA_TYPES) & set(route.body_media_types):
            ids.append("T4-form")
    if any(parameter.where == "path" for parameter in route.parameters):
        ids.append("T1")  # A path value that holds a slash or nothing makes a path that does not exist.
    return list(dict.fromkeys((*ids, *_EVERY_ROUTE)))


def _error_responses(ids: Sequence[str]) -> dict[str, Document]:
    by_status: dict[int, list[str]] = {}
    for id_ in ids:
        by_status.setdefault(403 if id_ in LIMITS else CATALOGUE[id_].status, []).append(id_)
    return {str(status): _error_response(by_status[status]) for status in sorted(by_status)}


def _error_response(ids: Sequence[str]) -> Document:
    """Describe the errors of one status: the schema, an example of each sentence, and a table in `x-errors`."""
    rows = [CATALOGUE[id_] for id_ in ids if id_ in CATALOGUE]
    limits = [(id_, LIMITS[id_]) for id_ in ids if id_ in LIMITS]
    table = [{"id": row.id, "error": row.error, "when": row.when} for row in rows]
    table += [
        {"id": id_, "error": limit.error, "when": f"Plan limit `{limit.code}`: {limit.message}"}
        for id_, limit in limits
    ]
    examples: dict[str, Document] = {}
    for row in rows:
        message = {} if row.message is None else {"message": row.message}
        examples[row.id] = {"summary": row.when, "value": {"error": row.error, **message}}
    names = ("x-request-id", "Retry-After") if any(row.retry_after for row in rows) else ("x-request-id",)
    error = {"$ref": _SCHEMA_REF.format(name="Error")}
    schema = {"anyOf": [{"$ref": _SCHEMA_REF.format(name=_LIMIT_SCHEMA)}, error]} if limits else error
    return {
        "description": "; ".join(dict.fromkeys(f"`{line['error']}`" for line in table)),
        "headers": _header_references(*names),
        "content": {JSON_MEDIA_TYPE: {"schema": schema, "examples": examples}},
        "x-errors": table,
    }


def _header_references(*names: str) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _operations(document: Document) -> Iterator[Document]:
    """Yield each operation with its method, its path, its parameters resolved and its curl call, for the page."""
    server = document["servers"][0]["url"].rstrip("/")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            parameters = [_resolve(document, parameter) for parameter in operation["parameters"]]
            yield {
                **operation,
                "method": method.upper(),
                "path": path,
                "parameters": parameters,
                "curl": _curl(document, method.upper(), server + path, {**operation, "parameters": parameters}),
            }


def _resolve(document: Document, value: Document) -> Document:
    if "$ref" not in value:
        return value
    found: Any = document
    for name in value["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    resolved: Document = found
    return resolved


def _curl(document: Document, method: str, path: str, operation: Document) -> str:
    """Return a shell command that calls the route; values in capitals are the reader's to fill in."""
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", parameter.get("example", parameter["name"].upper()))
    address = path if path.startswith("http") else f"http://localhost:8080{path}"
    lines = [f"curl -X {method} '{address}'" if method != "GET" else f"curl '{address}'"]
    if operation["security"]:
        lines.append('-H "x-api-key: $POSTPOST_API_KEY"')
    content = operation.get("requestBody", {}).get("content", {}).get(JSON_MEDIA_TYPE)
    if content is not None:
        example = content.get("example")
        if example is None:
            schema = _resolve(document, content["schema"])
            example = {name: f"<{name}>" for name in schema.get("required", [])}
        text = _pretty(example).replace("'", "'\\''")
        lines += [f"-H 'Content-Type: {JSON_MEDIA_TYPE}'", f"-d '{text}'"]
    return " \\\n  ".join(lines)


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _type_words(schema: Mapping[str, Any]) -> Markup:
    """Say in words what a JSON Schema allows, with links to named schemas."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(_type_words(part) for part in schema["anyOf"])
    if "enum" in schema:
        return Markup(" or ").join(Markup("<code>{}</code>").format(_pretty(value)) for value in schema["enum"])
    if "const" in schema:
        return Markup("<code>{}</code>").format(_pretty(schema["const"]))
    kind = schema.get("type", "any value")
    if kind == "array" and schema.get("items"):
        return Markup("array of ") + _type_words(schema["items"])
    return escape(kind)


def _code_marks(text: str) -> Markup:
    """Turn `backticks` into code elements; everything else is plain text."""
    parts = text.split("`")
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("postpost.http"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(type_words=_type_words, code_marks=_code_marks, pretty=_pretty)
    return environment
