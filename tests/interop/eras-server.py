"""The small server of eras-server.mjs on Python's `mcp`: of sessions before 2.0, of both eras from there on.

Argument: `sse` for the transport of 2024-11-05, which is of sessions with every version.
"""

import asyncio
import sys

import uvicorn
from pydantic import BaseModel

try:
    from mcp.server.mcpserver import Context, MCPServer
    from mcp_types import (
        CreateMessageRequest,
        CreateMessageRequestParams,
        ElicitRequest,
        ElicitRequestFormParams,
        InputRequiredResult,
        ListRootsRequest,
        SamplingMessage,
        TextContent,
    )

    two = True
except ImportError:
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.types import SamplingMessage, TextContent

    two = False

server = MCPServer("eras")
sse = sys.argv[1:] == ["sse"]
PROMPT = [SamplingMessage(role="user", content=TextContent(type="text", text="say something"))]


class Name(BaseModel):
    name: str


@server.tool()
async def count(to: int, ctx: Context) -> str:
    for step in range(1, to + 1):
        await ctx.report_progress(step, to)
        await asyncio.sleep(0.08)
    return f"counted to {to}"


@server.tool()
async def slow(ctx: Context) -> str:
    await ctx.report_progress(1)
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        print("a call was cancelled", flush=True)
        raise
    return "too late"


if two and not sse:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    questions = {
        "sample": CreateMessageRequest(params=CreateMessageRequestParams(messages=PROMPT, max_tokens=9)),
        "elicit": ElicitRequest(params=ElicitRequestFormParams(message="Your name?", requested_schema=schema)),
        "roots": ListRootsRequest(),
    }

    def asks(name):
        async def tool(ctx: Context) -> str | InputRequiredResult:
            answer = (ctx.input_responses or {}).get(name)
            if answer is None:
                return InputRequiredResult(input_requests={name: questions[name]})
            if name == "sample":
                return answer.content.text
            return answer.content["name"] if name == "elicit" else str(answer.roots[0].uri)

        server.add_tool(tool, name=name)

    for name in questions:
        asks(name)

    @server.tool()
    async def touch(ctx: Context) -> str:
        await ctx.notify_resource_updated("text://one")
        return "touched"

    @server.tool()
    async def grow(ctx: Context) -> str:
        await ctx.notify_tools_changed()
        return "grown"

else:

    @server.tool()
    async def sample(ctx: Context) -> str:
        answer = await ctx.session.create_message(PROMPT, max_tokens=9, related_request_id=ctx.request_id)
        return answer.content.text

    @server.tool()
    async def elicit(ctx: Context) -> str:
        return (await ctx.elicit("Your name?", Name)).data.name

    @server.tool()
    async def roots(ctx: Context) -> str:
        return str((await ctx.session.list_roots()).roots[0].uri)

    @server.tool()
    async def grow(ctx: Context) -> str:
        await ctx.session.send_tool_list_changed()
        return "grown"


@server.resource("text://one")
def one() -> str:
    return "text of one"


@server.prompt()
def greet(name: str) -> str:
    return f"Greet {name}."


# Port 0: uvicorn prints the one it was given.
app = server.sse_app() if sse else server.streamable_http_app()
uvicorn.run(app, host="127.0.0.1", port=0)
