"""The `mcp` package over streamable HTTP and TLS."""
import asyncio
import os

from mcp import Client


async def main():
    async with Client(os.environ["MCP_URL"]) as client:
        await client.list_tools()
        for size in (1, 3000, 40000):
            await client.call_tool("echo", {"text": "e" * size})


asyncio.run(main())
