"""An agent of `openai-agents` and MCP clients, each as its documentation starts it."""

import asyncio
import json


def agent(port, case):
    """Runs one agent over Chat Completions and over Responses; gives what the library read in each answer."""
    import agents
    import openai

    agents.set_tracing_disabled(True)
    for name, make in (("chat", agents.OpenAIChatCompletionsModel), ("responses", agents.OpenAIResponsesModel)):
        client = openai.AsyncOpenAI(base_url=f"http://api.openai.com:{port}/v1", api_key="test", max_retries=0)
        one = agents.Agent(name="desk", instructions=case["system"], model=make(model="gpt-5", openai_client=client), tools=[])
        result = asyncio.run(agents.Runner.run(one, case["turns"][0]["text"]))
        for answer in result.raw_responses:
            text = "".join(part.text for item in answer.output if item.type == "message" for part in item.content)
            yield f"openai-agents {name}", {"text": text, "calls": [], "input": answer.usage.input_tokens, "output": answer.usage.output_tokens}
