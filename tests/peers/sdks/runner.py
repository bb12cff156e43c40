"""An agent of `openai-agents`, as its documentation starts it: it asks, calls its tool, and asks again with the result."""

import asyncio
import json

import drivers

CASE = {
    "key": "agent",
    "system": "Be brief.",
    "turns": [{"role": "user", "text": "[agent] What about order 7?"}],
    "tools": [("lookup_order", "Looks an order up", {"order": {"type": "string"}})],
    "reply": {"toolCalls": [{"id": "call_agent_0", "name": "lookup_order", "arguments": '{"order": "7"}'}], "usage": {"prompt_tokens": 70, "completion_tokens": 9}},
    # What is answered once the tool's result is there.
    "after": {"content": "Paid today.", "usage": {"prompt_tokens": 90, "completion_tokens": 12}},
}


def agent(port):
    """Runs it over Chat Completions and over Responses, whole and streamed; gives each request's turns and tool, and what the library read."""
    import agents
    import openai

    agents.set_tracing_disabled(True)

    @agents.function_tool(description_override=CASE["tools"][0][1])
    def lookup_order(order: str) -> str:
        return f"Order {order}: paid, naïve"

    async def run(client, one, stream):
        async with client:
            if not stream:
                return await agents.Runner.run(one, CASE["turns"][0]["text"])
            result = agents.Runner.run_streamed(one, CASE["turns"][0]["text"])
            async for _ in result.stream_events():
                pass
            return result

    for name, make in (("chat", agents.OpenAIChatCompletionsModel), ("responses", agents.OpenAIResponsesModel)):
        for stream in (False, True):
            client = openai.AsyncOpenAI(base_url=f"http://api.openai.com:{port}/v1", api_key="test", max_retries=0)
            model, settings = make(model="gpt-5", openai_client=client), agents.ModelSettings(include_usage=True)
            one = agents.Agent(name="desk", instructions=CASE["system"], model=model, model_settings=settings, tools=[lookup_order])
            result = asyncio.run(run(client, one, stream))
            turns = list(CASE["turns"])
            tool = {"name": lookup_order.name, "description": lookup_order.description, "parameters": lookup_order.params_json_schema, "strict": lookup_order.strict_json_schema}
            tool |= {"type": "function"} if name == "responses" else {}
            for answer in result.raw_responses:
                text = "".join(part.text for item in answer.output if item.type == "message" for part in item.content)
                calls = [drivers.said(item.call_id, item.name, json.loads(item.arguments)) for item in answer.output if item.type == "function_call"]
                yield f"openai-agents {name}", stream, list(turns), tool, drivers.read(text, calls, None, answer.usage.input_tokens, answer.usage.output_tokens)
                turns.append({"role": "assistant", "text": text, "calls": calls})
                turns += [{"role": "tool", "id": call["id"], "text": lookup(call)} for call in calls]
            assert result.final_output == CASE["after"]["content"], result.final_output


def lookup(call):
    return f"Order {call['arguments']['order']}: paid, naïve"
