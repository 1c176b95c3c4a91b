"""Python's `mcp` as the client of the bridge: prints one line of JSON for each check.

Arguments: `legacy`, `auto`, `auto-legacy` for a server of the legacy era, or `auto-no-changes` for one that does not offer to tell of
changes; then the command of the bridge.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack

try:
    from mcp import Client
    from mcp_types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

    two = True
except ImportError:
    from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, Root, TextContent

    two = False
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

mode, command, *arguments = sys.argv[1:]
mode, _, server = mode.partition("-")
changes = asyncio.Queue()


async def sampling(context, params):
    return CreateMessageResult(role="assistant", model="m", content=TextContent(type="text", text="sampled text"))


async def elicitation(context, params):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def roots(context):
    return ListRootsResult(roots=[Root(uri="file:///first")])


async def message(message):
    method = getattr(getattr(message, "root", message), "method", None)
    if method and method.endswith("list_changed"):
        changes.put_nowait(method)


async def connect(stack):
    callbacks = {
        "sampling_callback": sampling,
        "elicitation_callback": elicitation,
        "list_roots_callback": roots,
        "message_handler": message,
    }
    parameters = StdioServerParameters(command=command, args=arguments)
    if two:
        return await stack.enter_async_context(Client(parameters, mode=mode, **callbacks))
    read, write = await stack.enter_async_context(stdio_client(parameters))
    client = await stack.enter_async_context(ClientSession(read, write, **callbacks))
    await client.initialize()
    return client


async def text(client, name, arguments=None, **more):
    return (await client.call_tool(name, arguments or {}, **more)).content[0].text


async def lists(client):
    names = [tool.name for tool in (await client.list_tools()).tools]
    assert "count" in names, names
    assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["greet"]
    assert str((await client.list_resources()).resources[0].uri) == "text://one"


async def progress(client):
    seen = []

    async def told(progress, total, message):
        seen.append(progress)

    assert await text(client, "count", {"to": 3}, progress_callback=told) == "counted to 3"
    assert seen == [1, 2, 3], seen


async def questions(client):
    assert await text(client, "sample") == "sampled text"
    assert await text(client, "elicit") == "Ada"
    assert await text(client, "roots") == "file:///first"


async def change(client):
    if server == "no-changes":
        return
    if two and mode == "auto" and server != "legacy":
        async with client.listen(tools_list_changed=True, resource_subscriptions=["text://one"]) as heard:
            assert heard.honored.tools_list_changed, heard.honored
            await text(client, "touch")
            assert type(await anext(heard)).__name__ == "ResourceUpdated"
            await text(client, "grow")
            assert type(await anext(heard)).__name__ == "ToolsListChanged"
    else:
        await text(client, "grow")
        assert await changes.get() == "notifications/tools/list_changed"


async def cancellation(client):
    call = asyncio.create_task(text(client, "slow"))
    await asyncio.sleep(0.3)
    call.cancel()
    assert await text(client, "count", {"to": 1}) == "counted to 1"


async def errors(client):
    try:
        await client.read_resource("text://nothing")
    except Exception as error:
        assert "text://nothing" in str(error), error
    else:
        raise AssertionError("no error")


async def run():
    async with AsyncExitStack() as stack:
        client = None
        try:
            client = await asyncio.wait_for(connect(stack), 10)
        finally:
            print(json.dumps(["connects", None if client else "it does not"]), flush=True)
        for check in (lists, progress, questions, change, cancellation, errors):
            failure = None
            try:
                await asyncio.wait_for(check(client), 10)
            except Exception as error:
                failure = repr(error)
            print(json.dumps([check.__name__, failure]), flush=True)


asyncio.run(run())
