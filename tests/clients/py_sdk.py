"""The official Python SDK as a client; in mode `auto` it speaks protocol 2026-07-28 where the server does.

Steps come as lines of JSON on standard input, one JSON document goes back for each on standard output. The
first document says what the connection is.
"""

import json
import logging
import sys
import traceback

import anyio
from httpx2 import AsyncClient
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CreateMessageResult,
    ElicitResult,
    Implementation,
    ListRootsResult,
    PaginatedRequestParams,
    Root,
    TextContent,
)

TARGET = json.loads(sys.argv[1])
OPTIONS = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
ERRORS = []
ASKED, LOGS = [], []


class Noted(logging.Handler):
    """What the SDK warns of, for the tests to look at."""

    def emit(self, record):
        ERRORS.append(f"{record.name}: {record.getMessage()}")


def say(document):
    print(json.dumps({**document, "errors": ERRORS, "asked": ASKED, "logs": LOGS}), flush=True)


def failure(error):
    inner = getattr(error, "error", None)
    return {
        "error": {
            "name": type(error).__name__,
            "code": getattr(inner, "code", None),
            "message": str(error),
            "data": getattr(inner, "data", None),
        }
    }


def dumped(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


async def listed(client):
    tools, count, cursor = [], 0, None
    while True:
        page = await client.list_tools(cursor=cursor)
        tools.extend(dumped(tool) for tool in page.tools)
        count += 1
        cursor = page.next_cursor
        if cursor is None:
            return {"tools": tools, "pages": count}


async def called(client, step):
    progress = []

    async def on_progress(done, total, message):
        progress.append({"progress": done, "total": total, "message": message})

    try:
        result = await client.call_tool(
            step["call"],
            step.get("arguments"),
            read_timeout_seconds=step.get("timeout_ms", 60_000) / 1000,
            progress_callback=on_progress if step.get("progress") else None,
        )
        return {"result": dumped(result), "progress": progress}
    except Exception as error:  # every failure is something the test looks at
        return {**failure(error), "progress": progress}


async def elicited(context, params):
    ASKED.append({"method": "elicitation/create", "params": dumped(params)})
    return ElicitResult(action="accept", content={"name": "Ada"})


async def sampled(context, params):
    ASKED.append({"method": "sampling/createMessage", "params": dumped(params)})
    text = TextContent(type="text", text="written by a model")
    return CreateMessageResult(role="assistant", model="none", stop_reason="endTurn", content=text)


async def roots(context):
    ASKED.append({"method": "roots/list"})
    return ListRootsResult(roots=[Root(uri="file:///work", name="Work")])


async def logged(params):
    LOGS.append(dumped(params))


ABILITIES = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": roots}


async def follow(server):
    info = Implementation(name=OPTIONS.get("name", "py-sdk"), version="1.0.0")
    more = ABILITIES if OPTIONS.get("asks") else {}
    more = {**more, "logging_callback": logged, "log_level": OPTIONS.get("level")}
    async with Client(server, mode=OPTIONS.get("mode", "auto"), client_info=info, **more) as client:
        say(
            {
                "connected": {
                    "protocol": client.protocol_version,
                    "server": dumped(client.server_info) if client.server_info else None,
                    "capabilities": dumped(client.server_capabilities),
                    "instructions": client.instructions,
                }
            }
        )
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            step = json.loads(line)
            try:
                say(await listed(client) if step.get("list") else await called(client, step))
            except Exception as error:
                say(failure(error))


async def main():
    if "url" not in TARGET:
        await follow(
            StdioServerParameters(
                command=TARGET["command"], args=TARGET["args"], cwd=TARGET.get("cwd"), env=TARGET.get("env")
            )
        )
        return
    headers = {"Authorization": f"Bearer {TARGET['token']}"}
    # The client waits for as long as each call says, not for the five seconds of its HTTP library.
    async with AsyncClient(headers=headers, timeout=None) as http:
        await follow(streamable_http_client(TARGET["url"], http_client=http))


logging.basicConfig(level=logging.WARNING, handlers=[Noted()])
try:
    anyio.run(main)
except BaseException as error:
    traceback.print_exc()
    say(failure(error))
    sys.exit(1)
