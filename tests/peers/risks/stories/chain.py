"""Agents that work through others: a desk that asks a writer, whose MCP server has a shell write a file; and a desk with its own token."""

import os

from kit import Story, Tool, bearer, jwt
from stories.authority import deputy

# One request alone, then all others at once.
AT_ONCE = 10


def desk(number, door, body):
    """Its users ask for notes, and it asks the writer behind `door` for them."""

    async def ask_writer(agent, arguments):
        with open(os.path.join(os.environ["OFFICE_DIR"], f"service_port.{number + 1}")) as file:
            url = f"https://localhost:{file.read()}{door}"
        answer = await agent.http.post(url, json=body(arguments["task"]), headers=bearer(jwt(sub="desk", aud="writer")))
        return answer.text

    cases = [f"N-{number}{at:02}" for at in range(AT_ONCE + 1)]
    return Story(
        user="",
        system="You are the desk. Have the writer do what your user asks for.",
        tools=[Tool("ask_writer", "Give the writer a task.", {"task": str}, ask_writer)],
        model=[("ask_writer", {"task": "Write note {case}: the delivery comes on Friday."})],
        asked=[("/ask", bearer(jwt(sub=f"u-{case[2:]}", aud="desk")), {"text": f"Please have note {case} about Friday's delivery written."}) for case in cases],
        at_once=AT_ONCE,
        partners=[("writer", number + 1)],
    )


def desk_a2a(_, number):
    """The writer is asked over A2A."""
    part = lambda task: [{"kind": "text", "text": task}]
    said = lambda task: {"role": "user", "kind": "message", "messageId": f"m-{task.split()[2]}", "parts": part(task)}
    return desk(number, "/a2a", lambda task: {"jsonrpc": "2.0", "id": "1", "method": "message/send", "params": {"message": said(task)}})


def desk_http(_, number):
    """The writer is asked like any other service."""
    return desk(number, "/ask", lambda task: {"text": task})


def writer(_, number):
    """Writes the notes that are asked for with a tool of its MCP server."""
    return Story(
        user="",
        system="You are the writer. Use the tools.",
        sdk="anthropic",
        model_name="claude-opus-5",
        servers=[("server.py", "notes", str(number), os.environ["OFFICE_DIR"])],
        model=[("write_note", {"note": "{case}", "text": "The delivery comes on Friday."})],
        asked=[()] * (AT_ONCE + 1),
    )


def service_deputy(_, number):
    """u-NUMBER asks; the desk changes the order of another user under its own token."""
    service = jwt(sub="svc-desk", azp="desk", scope="orders:write", jti=f"service-{number}")
    return deputy(number, f"u-{number}-other", bearer(service))
