"""The `mcp` package at both ends of a pair of pipes."""
import asyncio
import os
import sys

from mcp import Client
from mcp.client.stdio import StdioServerParameters


async def main():
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    server = StdioServerParameters(
        command=sys.executable, args=[os.path.join(folder, "mcp_server.py"), "stdio", os.environ["MCP_LEDGER"]])
    async with Client(server) as client:
        await client.list_tools()
        for size in (1, 3000, 200000):
            await client.call_tool("echo", {"text": "e" * size})


asyncio.run(main())
