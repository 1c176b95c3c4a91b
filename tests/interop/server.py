"""The same small server on either Python package: `mcp` (its FastMCP class) or `fastmcp`, whichever is installed.

Argument: how it serves. `stateful` keeps sessions and events, so that a stream may be cut and resumed; `stateless` has
no sessions; `json` answers with plain JSON instead of event streams; `sse` is the transport of 2024-11-05.
"""

import asyncio
import sys

import uvicorn
from mcp.server.streamable_http import EventMessage, EventStore
from pydantic import BaseModel

try:
    from fastmcp import Context, FastMCP

    standalone = True
except ImportError:
    from mcp.server.fastmcp import Context, FastMCP

    standalone = False


class Events(EventStore):
    """All events of all streams, in order."""

    def __init__(self):
        self.events = []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return str(len(self.events) - 1)

    async def replay_events_after(self, last_event_id, send_callback):
        last = int(last_event_id)
        stream_id = self.events[last][0]
        for number, (stream, message) in enumerate(self.events[last + 1 :], last + 1):
            if stream == stream_id and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream_id


class Name(BaseModel):
    name: str


mode = sys.argv[1]
options = {"stateless_http": mode == "stateless", "json_response": mode == "json"}
if mode == "stateful":
    options |= {"event_store": Events(), "retry_interval": 300}
server = FastMCP("python-server") if standalone else FastMCP("python-server", **options)


@server.tool()
def add(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts aloud."""
    for step in range(1, to + 1):
        await ctx.report_progress(step, to)
        await asyncio.sleep(0.1)
    return f"counted to {to}"


@server.tool()
async def ask(ctx: Context) -> str:
    """Asks the user for a name."""
    answer = await ctx.elicit("Your name?", Name)
    return answer.data.name if answer.action == "accept" else answer.action


@server.tool()
async def interrupted(ctx: Context) -> str:
    """Cuts its own stream, and ends while nobody listens."""
    await ctx.report_progress(1, 2)
    await ctx.close_sse_stream()
    await asyncio.sleep(0.1)
    await ctx.report_progress(2, 2)
    return "resumed"


@server.tool()
def large(size: int) -> str:
    """A text of that many characters."""
    return "x" * size


@server.resource("text://{name}")
def text(name: str) -> str:
    """A text with the name in it."""
    return f"text of {name}"


@server.prompt()
def greet(name: str) -> str:
    """A greeting."""
    return f"Greet {name}."


if standalone:
    app = server.http_app(transport="sse") if mode == "sse" else server.http_app(**options)
else:
    app = server.sse_app() if mode == "sse" else server.streamable_http_app()
# Port 0: uvicorn prints the one it was given.
uvicorn.run(app, host="127.0.0.1", port=0)
