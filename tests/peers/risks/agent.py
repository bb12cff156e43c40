"""One agent of one run: `agent.py STORY harmful|honest NUMBER`. It knows nothing of agentward.

Reads OFFICE_URL and SSL_CERT_FILE from the environment. Most stories are a program that works on one request of its user; some are a
service that its users ask over HTTP (`service_port` in the run's folder says where).
"""

import asyncio
import contextlib
import os
import sys

import httpx2

from kit import Agent
from tale import tell

HERE = os.path.dirname(os.path.abspath(__file__))


@contextlib.asynccontextmanager
async def servers(story):
    """Sessions with the MCP servers that the story's agent starts, by the tools that they list; and what they list."""
    if not story.servers:
        yield {}, []
        return
    from mcp import Client
    from mcp.client.stdio import StdioServerParameters

    async with contextlib.AsyncExitStack() as stack:
        by_tool, listed = {}, []
        for words in story.servers:
            command = StdioServerParameters(command=sys.executable, args=[os.path.join(HERE, words[0]), *words[1:]])
            session = await stack.enter_async_context(Client(command))
            for tool in (await session.list_tools()).tools:
                by_tool[tool.name] = session
                listed.append((tool.name, tool.description or "", tool.input_schema))
        yield by_tool, listed


async def main(name, variant, number):
    story = tell(name, variant == "harmful", number)
    async with httpx2.AsyncClient() as http, servers(story) as (sessions, listed):
        agent = Agent(story, number, http, sessions)
        offered = [(tool.name, tool.about, tool.schema()) for tool in story.tools] + listed
        if story.asked:
            from service import serve

            return await serve(agent, offered, len(story.asked))
        if story.before:
            await story.before(agent)
        await agent.work(story.user, offered)
        if story.after:
            await story.after(agent)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
