"""What of the site is made when it is built: the API's operations, and files that pages link to outside of docs/.

MkDocs calls the functions `on_…`; mkdocs.yml names this file.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from sqlalchemy import create_engine

from sensedict.wire import PROBLEM
from sensedict_server.app import create_app
from sensedict_server.settings import Settings

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
OPERATIONS = "<!-- operations -->"  # where a page wants them
_OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)")
_COPIES = "repository"  # the folder of the site that has them


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `openapi.json`, and each file of the repository that a page links to."""
    files.append(File.generated(config, "openapi.json", content=json.dumps(_described(), indent=1)))
    wanted = {
        target
        for page in files.documentation_pages()
        for link in _OUTSIDE.findall(page.content_string)
        if (target := _outside(page.src_uri, link)) is not None
    }
    for target in sorted(wanted):
        files.append(File.generated(config, f"{_COPIES}/{target}", abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the operations where they are wanted, and turn links out of docs/ to the copies."""
    if OPERATIONS in markdown:
        markdown = markdown.replace(OPERATIONS, "\n".join(_operations(_described())))
    here = os.path.dirname(page.file.src_uri)

    def turned(link: re.Match[str]) -> str:
        target = _outside(page.file.src_uri, link[1])
        return link[0] if target is None else f"]({os.path.relpath(f'{_COPIES}/{target}', here or '.')}"

    return _OUTSIDE.sub(turned, markdown)


def _outside(page: str, link: str) -> str | None:
    """The file of the repository that a page's link leads to; None where it stays in docs/, or leads nowhere."""
    target = (DOCS / page).parent.joinpath(link).resolve()
    if target.is_relative_to(DOCS) or not target.is_relative_to(ROOT) or not target.is_file():
        return None
    return target.relative_to(ROOT).as_posix()


def _described() -> dict[str, Any]:
    """The OpenAPI document of the service; no database is asked for it."""
    return create_app(create_engine("postgresql+psycopg://"), Settings(home=ROOT)).openapi()


def _operations(described: dict[str, Any]) -> Iterator[str]:
    """Markdown: a section for each tag, in it one for each operation."""
    for tag in described["tags"]:
        yield from (f"## {tag['name'].capitalize()}", "", f"{tag['description']}.", "")
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(path, method, operation)


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {operation['operationId']}", "", f"`{method.upper()} {path}`", "", operation["description"], "")
    parameters = operation.get("parameters", [])
    if parameters:
        yield from ("| parameter | in | type | what |", "|---|---|---|---|")
        for said in parameters:
            name = f"**{said['name']}**" if said["required"] else said["name"]
            what = said.get("description", "") + (f" (`{said['example']}`)" if "example" in said else "")
            yield "| " + " | ".join(_cell(text) for text in (name, said["in"], _type(said["schema"]), what)) + " |"
        yield ""
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        yield from (f"Takes {_media(body)}.", "")
    for content in body.values():
        if "example" in content:
            yield from ("```json", json.dumps(content["example"]), "```", "")
    refusals = []
    yield from ("| status | answer |", "|---|---|")
    for status, answer in sorted(operation["responses"].items()):
        content = answer.get("content", {})
        if list(content) == [PROBLEM]:
            refusals.append(status)
        else:
            media = _media(content)
            yield f"| {status} | {_cell(answer['description'])}{': ' + media if media else ''} |"
    yield from ("", f"Problems: {', '.join(refusals)}." if refusals else "", "")


def _media(content: dict[str, Any]) -> str:
    """Media types, and the schema of each that has a name."""
    found = []
    for kind, said in content.items():
        name = said.get("schema", {}).get("$ref", "").rpartition("/")[2]
        found.append(f"`{kind}`" + (f" {name}" if name else ""))
    return ", ".join(found)


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words: `integer, 0 to 50, default 0`."""
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        kind = ", ".join(f"`{value}`" for value in schema["enum"])
    elif schema.get("type") == "array":
        kind = f"list of {_type(schema.get('items', {}))}"
    else:
        kind = str(schema.get("format", schema.get("type", "")))
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = f", {least} to {most}" if least is not None and most is not None else ""
    default = schema.get("default")
    return kind + bounds + (f", default {default}" if default is not None else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
