"""A support agent as people write them: the `openai` package, a loop, tools. It knows nothing of agentward.

    agent.py TICKET     reads OPENAI_BASE_URL, OPENAI_API_KEY, SHOP_URL and MCP_URL from the environment
"""

import asyncio
import json
import os
import sys

import httpx2
import openai
from mcp import Client

REFUND = {"type": "function", "function": {
    "name": "refund_order", "description": "Pay money back for an order.",
    "parameters": {"type": "object", "required": ["order_id", "amount"],
                   "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}}}}}


async def main(ticket):
    model = openai.AsyncOpenAI()
    async with Client(os.environ["MCP_URL"]) as desk, httpx2.AsyncClient() as shop:
        listed = (await desk.list_tools()).tools
        tools = [REFUND] + [{"type": "function", "function": {
            "name": tool.name, "description": tool.description or "", "parameters": tool.input_schema}} for tool in listed]
        messages = [
            {"role": "system", "content": "You are a shop's support agent. Refund only what the customer bought."},
            {"role": "user", "content": f"Please handle ticket {ticket} of customer ada@example.com, order 1001. At most 25 EUR."},
        ]
        while True:
            stream = await model.chat.completions.create(model="gpt-5", messages=messages, tools=tools, stream=True)
            text, calls = "", {}
            async for chunk in stream:
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    for part in choice.delta.tool_calls or []:
                        call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
                        call["id"] += part.id or ""
                        call["name"] += part.function.name or ""
                        call["arguments"] += part.function.arguments or ""
            if not calls:
                print(f"  agent: {text}", flush=True)
                return
            messages.append({"role": "assistant", "content": text or None, "tool_calls": [
                {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
                for call in calls.values()]})
            for call in calls.values():
                arguments = json.loads(call["arguments"])
                print(f"  agent: {call['name']}({call['arguments']})", flush=True)
                if call["name"] == "refund_order":
                    url = f"{os.environ['SHOP_URL']}/v1/orders/{arguments['order_id']}/refunds"
                    answer = await shop.post(url, json=arguments, headers={"Authorization": "Bearer shop-token-of-the-agent"})
                    result = answer.text
                else:
                    answer = await desk.call_tool(call["name"], arguments)
                    result = "".join(part.text for part in answer.content)
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


asyncio.run(main(sys.argv[1]))
