"""Messages, whole and streamed, sync and async."""
import asyncio

import anthropic

TOOLS = [{"name": "refund_order", "input_schema": {"type": "object", "properties": {"order_id": {"type": "string"}}}}]


def ask(number):
    text = f"Refund order 100{number}, amount {number}. " + "y" * 20000 * number
    return dict(model="claude-opus-5", max_tokens=100, tools=TOOLS, messages=[{"role": "user", "content": text}])


with anthropic.Anthropic() as client:
    for number in range(3):
        client.messages.create(**ask(number))
        with client.messages.stream(**ask(number)) as stream:
            stream.get_final_message()


async def side_by_side():
    async with anthropic.AsyncAnthropic() as client:
        await asyncio.gather(*(client.messages.create(**ask(number)) for number in range(4)))


asyncio.run(side_by_side())
