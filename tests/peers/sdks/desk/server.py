"""A desk made with the `mcp` package of PyPI, with everything that MCP has: `server.py stdio|sse|http|http-json JOURNAL`.

JOURNAL gets one object for each message that the server got, with what it answered, and for each that it sent itself, with what it got
back. Over HTTP the port is printed, and the server ends with its standard input.
"""

import asyncio
import json
import socket
import sys
import threading
import warnings

import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.session import ServerSession
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

warnings.simplefilter("ignore")
transport, path = sys.argv[1:3]
journal = open(path, "a", buffering=1)


def wire(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True) if isinstance(value, BaseModel) else value


def note(asker, method, params, session=None, **answer):
    # What was already said of a call is read again at the end: `params` may be shared.
    journal.write(json.dumps({"from": asker, "method": method, "params": params and dict(params), "session": session, **answer}) + "\n")


async def noted(ctx, call_next):
    told = {"session": ctx.request.headers.get("mcp-session-id") if ctx.request is not None else None}
    try:
        result = await call_next(ctx)
    except MCPError as error:
        note("client", ctx.method, ctx.params, error=wire(error.error), **told)
        raise
    note("client", ctx.method, ctx.params, **({} if ctx.request_id is None else {"result": wire(result)}), **told)
    return result


send_request, notify = ServerSession.send_request, ServerSession._notify


async def asking(self, request, result_type, *more, **named):
    params = wire(request).get("params")
    try:
        result = await send_request(self, request, result_type, *more, **named)
    except MCPError as error:
        note("server", request.method, params, error=wire(error.error))
        raise
    note("server", request.method, params, result=wire(result))
    return result


async def telling(self, notification, **named):
    note("server", notification.method, wire(notification).get("params"))
    await notify(self, notification, **named)


ServerSession.send_request, ServerSession._notify = asking, telling

desk = MCPServer("desk", version="3.1.0", instructions="A desk.", middleware=[noted], log_level="CRITICAL")


async def progress(ctx, done, message):
    note("server", "notifications/progress", {"progressToken": ctx.request_context.params["_meta"]["progressToken"], "progress": done, "total": 3, "message": message})
    await ctx.report_progress(done, 3, message)


class Priced(BaseModel):
    order: str
    amount: float
    lines: list[str]


@desk.tool()
def lookup(order: str) -> str:
    """Looks an order up."""
    return f"Order {order}: paid, naïve \"q\" 数据 🙂"


@desk.tool(title="Price", description="What an order costs")
def price(order: str, currency: str = "EUR", lines: list[str] | None = None) -> Priced:
    return Priced(order=order, amount=12.5, lines=[currency, *(lines or [])])


@desk.tool()
def fails(reason: str) -> str:
    """Cannot work."""
    raise ValueError(reason)


@desk.tool()
async def ask(ctx: Context, question: str) -> str:
    """Asks the user, the model and the roots, and tells how far it is."""
    await progress(ctx, 1, "asking")
    await ctx.info({"question": question}, logger_name="desk")
    told = [types.SamplingMessage(role="user", content=types.TextContent(type="text", text=question))]
    model = await ctx.session.create_message(told, max_tokens=10, system_prompt="Be brief.", related_request_id=ctx.request_id)
    roots = await ctx.session.list_roots()
    await ctx.session.send_tool_list_changed()
    await progress(ctx, 3, "asked")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    # Before 2025-06-18 there is no such question: then the call fails.
    said = await ctx.session.elicit_form(question, schema, ctx.request_id)
    return f"{said.action} {model.content.text} {len(roots.roots)}"


@desk.tool()
async def confirm(ctx: Context, amount: float) -> str | types.InputRequiredResult:
    """Asks before it pays, as servers do since 2026-07-28."""
    if ctx.input_responses is None:
        if transport != "http-json":
            await progress(ctx, 1, "asking")
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
        wanted = types.ElicitRequest(params=types.ElicitRequestFormParams(message=f"Pay {amount}?", requested_schema=schema))
        return types.InputRequiredResult(input_requests={"ok": wanted}, request_state=f"pay-{amount}")
    return f"{ctx.input_responses['ok'].action} {amount}"


@desk.resource("desk://rules", name="rules", description="What may be paid")
def rules() -> str:
    return "At most 25 EUR."


@desk.resource("desk://orders/{order}", name="order", mime_type="application/json")
def order(order: str) -> str:
    return json.dumps({"order": order, "state": "paid"})


@desk.prompt(description="A polite answer")
def polite(name: str) -> str:
    return f"Answer {name} politely."


@desk.completion()
async def complete(ref, argument, context):
    return types.Completion(values=[argument.value + "da", argument.value + "na"], total=2, has_more=False)


async def level(ctx, params):
    return types.EmptyResult()


desk._lowlevel_server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, level)


def serve(app):
    import uvicorn

    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)

    def end():
        sys.stdin.read()
        journal.flush()
        import os

        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listening])


async def pipe():
    await desk.run_stdio_async()


if transport == "stdio":
    asyncio.run(pipe())
elif transport == "sse":
    serve(desk.sse_app())
else:
    serve(desk.streamable_http_app(json_response=transport == "http-json"))
