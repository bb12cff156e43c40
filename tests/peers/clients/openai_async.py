"""Completions side by side on several connections of one event loop."""
import asyncio

import openai


async def one(client, number):
    ask = [{"role": "user", "content": f"async {number} " + "x" * 9000 * number}]
    await client.chat.completions.create(model="gpt-5", messages=ask)
    async for _ in await client.chat.completions.create(model="gpt-5", messages=ask, stream=True):
        pass


async def main():
    async with openai.AsyncOpenAI() as client:
        await asyncio.gather(*(one(client, number) for number in range(8)))


asyncio.run(main())
