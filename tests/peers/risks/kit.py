"""What the risk stories are told with: tools, tokens, and the agent that lives through them.

A story is a function of (harmful, number) that gives a [`Story`]: the same agent with the same tools, once talked into harm or badly
built, once honest. `number` is the run's own: whatever has an id takes it from there, so that runs beside each other share nothing.
"""

import base64
import json
import os
from dataclasses import dataclass, field


@dataclass
class Tool:
    """`does` is awaited with the running agent and the arguments, and gives what the model is told."""

    name: str
    about: str
    takes: dict
    does: object = None

    def schema(self):
        kinds = {str: "string", float: "number", int: "integer", dict: "object", list: "array"}
        properties = {name: {"type": kinds[kind]} for name, kind in self.takes.items()}
        return {"type": "object", "properties": properties, "required": list(self.takes)}


@dataclass
class Story:
    user: str
    # The model's decisions: tool and arguments, one a turn.
    model: list
    tools: list = field(default_factory=list)
    # What companies answer: "METHOD /path" -> (status, body).
    api: dict = field(default_factory=dict)
    system: str = "You are an assistant of this company. Use the tools."
    sdk: str = "openai"
    model_name: str = "gpt-5"
    # MCP servers that the agent starts: files in this folder with their arguments.
    servers: list = field(default_factory=list)
    # Code of the agent that runs before its first and after its last turn: coroutines of the running agent.
    before: object = None
    after: object = None
    # The agent is a service: its users' requests, as (path, headers, body), come to it over HTTP; the first alone, then so many at once.
    asked: list = field(default_factory=list)
    at_once: int = 1
    # Services that it works with: (story, number).
    partners: list = field(default_factory=list)


def jwt(**claims):
    """A token whose signature nobody here checks."""
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    return f"{part({'alg': 'ES256', 'typ': 'JWT'})}.{part(claims)}.c2lnbmF0dXJl"


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def says(answer):
    """A tool of the agent's own process that knows its answer."""

    async def does(_, arguments):
        return answer(arguments) if callable(answer) else answer

    return does


def calls(method, path, host="api.firm.example", headers=None, body=None):
    """A tool that is one call of a company's API; `{name}` in the path is that argument, the others are the body."""

    async def does(agent, arguments):
        given = arguments if body is None else body(arguments)
        answer = await agent.call(method, path.format(**arguments), host, headers, None if method == "GET" else given)
        return answer.text

    return does


async def shell(_, arguments):
    """A tool that runs a command, as coding agents have it."""
    import asyncio

    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("sh", "-c", arguments["command"], stdout=pipe, stderr=pipe)
    out, _ = await child.communicate()
    return out.decode(errors="replace")[:2000] or "(nothing)"


class Agent:
    """The loop that every agent has. `story` is one of [`Story`]."""

    def __init__(self, story, number, http, sessions=()):
        self.story, self.number, self.http = story, number, http
        # Tool of an MCP server -> the session that has it.
        self.remote = dict(sessions)
        # Headers of the request that is being served.
        self.entered = {}

    async def call(self, method, path, host="api.firm.example", headers=None, body=None, form=None):
        """A call of a company's API: all of them stand behind one address here, as behind a gateway."""
        headers = headers(self) if callable(headers) else headers or {}
        return await self.http.request(
            method, f"{os.environ['OFFICE_URL']}{path}", json=body, data=form, headers={"Host": host, **headers})

    async def use(self, name, arguments):
        if name in self.remote:
            # The list may have changed since: hosts look again.
            await self.remote[name].list_tools()
            answer = await self.remote[name].call_tool(name, arguments)
            return "".join(part.text for part in answer.content)
        return await next(tool for tool in self.story.tools if tool.name == name).does(self, arguments)

    async def work(self, text, offered):
        """Works on one request of a user; `offered` are (name, description, schema)."""
        key = f"sk-run-{self.number}"
        return await (openai_loop if self.story.sdk == "openai" else anthropic_loop)(self, text, offered, key)


async def openai_loop(agent, text, offered, key):
    import openai

    tools = [{"type": "function", "function": {"name": name, "description": about, "parameters": schema}} for name, about, schema in offered]
    messages = [{"role": "system", "content": agent.story.system}, {"role": "user", "content": text}]
    async with openai.AsyncOpenAI(base_url=f"{os.environ['OFFICE_URL']}/v1", api_key=key) as model:
        while True:
            answer = await model.chat.completions.create(model=agent.story.model_name, messages=messages, tools=tools)
            told = answer.choices[0].message
            messages.append(told.model_dump(exclude_none=True))
            if not told.tool_calls:
                return told.content
            for call in told.tool_calls:
                result = await agent.use(call.function.name, json.loads(call.function.arguments))
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


async def anthropic_loop(agent, text, offered, key):
    import anthropic

    tools = [{"name": name, "description": about, "input_schema": schema} for name, about, schema in offered]
    messages = [{"role": "user", "content": text}]
    async with anthropic.AsyncAnthropic(base_url=os.environ["OFFICE_URL"], api_key=key) as model:
        while True:
            ask = dict(model=agent.story.model_name, max_tokens=500, system=agent.story.system, messages=messages, tools=tools)
            async with model.messages.stream(**ask) as stream:
                told = await stream.get_final_message()
            messages.append({"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in told.content]})
            uses = [block for block in told.content if block.type == "tool_use"]
            if not uses:
                return told.content[0].text
            results = []
            for use in uses:
                results.append({"type": "tool_result", "tool_use_id": use.id, "content": await agent.use(use.name, use.input)})
            messages.append({"role": "user", "content": results})
