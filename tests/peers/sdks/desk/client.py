"""A client made with the `mcp` package of PyPI: `talk` goes through everything that the desk has.

`Tapped` notes each message as the package's own session gives it to its transport and takes it from there.
"""

import asyncio
import random
import warnings

import mcp_types as types
from mcp import Client
from mcp.client import session as sessions
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

import cases

warnings.simplefilter("ignore")
# On a busy machine a server takes longer than that to start, and the client would fall back to a handshake.
sessions.DISCOVER_TIMEOUT_SECONDS = 120.0


def plain(message):
    return message.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Read:
    def __init__(self, stream, note):
        self._stream, self._note = stream, note

    def __getattr__(self, name):
        return getattr(self._stream, name)

    async def receive(self):
        return self._noted(await self._stream.receive())

    def __aiter__(self):
        return self

    async def __anext__(self):
        return self._noted(await self._stream.__anext__())

    def _noted(self, item):
        if not isinstance(item, Exception):
            self._note("server", plain(item.message))
        return item

    async def __aenter__(self):
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *fault):
        return await self._stream.__aexit__(*fault)


class Write(Read):
    async def send(self, item):
        self._note("client", plain(item.message))
        await self._stream.send(item)


class Tapped:
    """A transport whose messages are noted."""

    def __init__(self, transport):
        self._transport, self.said = transport, []

    def _note(self, speaker, message):
        self.said.append((speaker, message))

    async def __aenter__(self):
        reading, writing = await self._transport.__aenter__()
        return Read(reading, self._note), Write(writing, self._note)

    async def __aexit__(self, *fault):
        return await self._transport.__aexit__(*fault)


def transport(kind, where):
    if kind == "stdio":
        return stdio_client(StdioServerParameters(command=str(where[0]), args=[str(word) for word in where[1:]]))
    if kind == "sse":
        return sse_client(f"http://127.0.0.1:{where}/sse")
    return streamable_http_client(f"http://127.0.0.1:{where}/mcp")


async def elicited(context, params):
    return types.ElicitResult(action="accept", content={"ok": True})


async def sampled(context, params):
    return types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text="Yes, naïve."), model="m-1", stop_reason="endTurn")


async def rooted(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///srv/desk", name="desk")])


async def quiet(*_):
    pass


async def talk(kind, where, seed, count, modern, revision, patience):
    """Everything once, then `count` calls with arguments made from the seed. Gives the messages."""
    tapped = Tapped(transport(kind, where))
    usual = sessions.LATEST_HANDSHAKE_VERSION
    sessions.LATEST_HANDSHAKE_VERSION = revision or usual
    rng = random.Random(f"mcp/{seed}")
    try:
        callbacks = {"elicitation_callback": elicited, "sampling_callback": sampled, "list_roots_callback": rooted, "logging_callback": quiet}
        info = types.Implementation(name="clerk", version="1.0")
        async with asyncio.timeout(patience), Client(tapped, mode="auto" if modern else "legacy", client_info=info, cache=None, log_level="info" if modern else None, **callbacks) as client:
            await client.list_tools()
            await client.list_resources()
            await client.list_resource_templates()
            await client.list_prompts()
            await client.read_resource("desk://rules")
            await client.read_resource("desk://orders/7")
            await client.get_prompt("polite", {"name": "Ada"})
            await client.complete(types.PromptReference(type="ref/prompt", name="polite"), {"name": "name", "value": "A"})
            await client.call_tool("fails", {"reason": "no paper"})
            await failing(client.call_tool("nothing", {}))
            await failing(client.read_resource("desk://nowhere"))
            if modern:
                await client.call_tool("confirm", {"amount": 12.5}, progress_callback=quiet)
            else:
                await client.send_ping()
                await client.set_logging_level("info")
                await client.send_roots_list_changed()
                if kind != "http-json":
                    await failing(client.call_tool("ask", {"question": "Pay 12?"}, progress_callback=quiet))
            for number in range(count):
                if rng.random() < 0.5:
                    await client.call_tool("lookup", {"order": cases.words(rng, 6, [cases.PAIR])})
                else:
                    await client.call_tool("price", {"order": str(number), "lines": [cases.words(rng, 3) for _ in range(rng.randint(0, 3))]})
            return tapped.said
    except TimeoutError as fault:
        raise RuntimeError(f"it hangs after {tapped.said[-4:]}") from fault
    finally:
        sessions.LATEST_HANDSHAKE_VERSION = usual


async def failing(call):
    try:
        await call
    except MCPError:
        # The package raises what the server answers as an error.
        pass
