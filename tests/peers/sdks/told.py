"""What providers send and aimock does not: a server that answers with the bytes it is told, whole and as a stream.

The shapes are those of the providers' API references; that an SDK reads them shows that they are right. What an SDK does not tell
(errors, tools that the provider ran) is told here beside them.
"""

import base64
import binascii
import http.server
import json
import struct
import threading


class Told:
    """Answers every POST with what was set last."""

    def __init__(self):
        told = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                status, media, body = told.answer
                self.send_response(status)
                self.send_header("content-type", media)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.answer = None
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()


def sse(*events, named=False, done=False, before=b""):
    out = before
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        out += f"{name}data: {json.dumps(event)}\n\n".encode()
    return "text/event-stream", out + (b"data: [DONE]\n\n" if done else b"")


def lines(*values):
    return "application/x-ndjson", b"".join(json.dumps(value).encode() + b"\n" for value in values)


def frames(*events):
    """AWS event stream: the layout of the SDKs' own documentation; botocore checks both sums."""
    out = b""
    for name, payload in events:
        exception = name.endswith("Exception")
        headers = {":message-type": "exception" if exception else "event", ":exception-type" if exception else ":event-type": name, ":content-type": "application/json"}
        packed = b"".join(struct.pack("!B", len(key)) + key.encode() + struct.pack("!BH", 7, len(value)) + value.encode() for key, value in headers.items())
        body = json.dumps(payload).encode()
        prelude = struct.pack("!II", 16 + len(packed) + len(body), len(packed))
        message = prelude + struct.pack("!I", binascii.crc32(prelude)) + packed + body
        out += message + struct.pack("!I", binascii.crc32(message))
    return "application/vnd.amazon.eventstream", out


def wrapped(*events):
    """InvokeModelWithResponseStream."""
    return frames(*(("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode()}) for event in events))


ASKED = {
    "key": "told",
    "system": "Be brief.",
    "turns": [{"role": "user", "text": "What about order 7?"}],
    "tools": [("lookup_order", "Looks an order up", {"order": {"type": "string"}})],
}
ARGUMENTS = '{"order": "7", "note": "naïve \\"q\\" \\n"}'
CALL = {"id": "call_1", "type": "function", "function": {"name": "lookup_order", "arguments": ARGUMENTS}}


def chat_answer(message, finish, usage=None, **more):
    usage = usage or {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100, "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 12, "audio_tokens": 0}}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-2026-01-01", "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, "logprobs": None}], "usage": usage, **more}


def chat_parts(whole, *deltas, first=None):
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
    choice = lambda delta, finish=None, index=0: {**base, "choices": [{"index": index, "delta": delta, "finish_reason": finish}], "usage": None}
    ready = [delta if "choices" in delta else choice(delta) for delta in deltas]
    return sse(*([first] if first else []), choice({"role": "assistant", "content": None}), *ready, choice({}, whole["choices"][0]["finish_reason"]), {**base, "choices": [], "usage": whole["usage"]}, done=True, before=b": OPENROUTER PROCESSING\n\n")


def cut(text, size=5):
    return [text[at : at + size] for at in range(0, len(text), size)]


def chat():
    part = lambda index, text, **more: {"tool_calls": [{"index": index, "function": {"arguments": text}, **more}]}
    start = lambda index, id: {"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": "lookup_order", "arguments": ""}}]}
    two = chat_answer({"content": "Two at once.", "tool_calls": [CALL, {**CALL, "id": "call_2"}]}, "tool_calls")
    interleaved = [delta for one in cut(ARGUMENTS) for delta in (part(0, one), part(1, one))]
    filtered = {"choices": [], "id": "", "model": "", "object": "", "created": 0, "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
    yield "parallel calls, interleaved", two, chat_parts(two, *({"content": one} for one in cut("Two at once.")), start(0, "call_1"), start(1, "call_2"), *interleaved, first=filtered), {}
    refused = chat_answer({"content": None, "refusal": "I cannot help with that."}, "stop")
    yield "refusal", refused, chat_parts(refused, *({"refusal": one} for one in cut("I cannot help with that."))), {"refusal": True}
    thought = chat_answer({"content": "Paid.", "reasoning_content": "The user wants…"}, "stop")
    yield "reasoning beside the text", thought, chat_parts(thought, *({"reasoning_content": one, "content": None} for one in cut("The user wants…")), {"content": "Paid."}), {}
    second = {"index": 1, "message": {"role": "assistant", "content": "Another"}, "finish_reason": "stop"}
    both = chat_answer({"content": "First"}, "stop")
    other = lambda text: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": both["model"], "choices": [{"index": 1, "delta": {"content": text}, "finish_reason": None}]}
    yield "two answers to one request", {**both, "choices": [*both["choices"], second]}, chat_parts(both, {"content": "Fi"}, other("Ano"), other("ther"), {"content": "rst"}), {}


def responses():
    usage = {"input_tokens": 70, "input_tokens_details": {"cached_tokens": 64}, "output_tokens": 30, "output_tokens_details": {"reasoning_tokens": 12}, "total_tokens": 100}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Thinking of money"}]}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "order 7"}}
    remote = {"type": "mcp_call", "id": "mcp_1", "server_label": "desk", "name": "find", "arguments": '{"q":"7"}', "output": "found 7", "error": None, "status": "completed"}
    function = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "lookup_order", "arguments": ARGUMENTS, "status": "completed"}
    text = lambda *parts: {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": list(parts)}
    said = {"type": "output_text", "text": "Looking it up.", "annotations": []}
    refusal = {"type": "refusal", "refusal": "I cannot help with that."}

    def pair(*items, status="completed", told=True, **more):
        whole = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5-2026-01-01", "status": status, "output": list(items), "usage": usage, "error": None, "incomplete_details": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "instructions": None, "metadata": {}, "temperature": 1, "top_p": 1, **more}
        events = [{"type": "response.created", "response": {**whole, "status": "in_progress", "output": [], "usage": None}}]
        for index, item in enumerate(items):
            events.append({"type": "response.output_item.added", "output_index": index, "item": {**item, **({"arguments": ""} if item["type"] == "function_call" else {}), **({"content": []} if item["type"] == "message" else {})}})
            if item["type"] == "function_call":
                events += [{"type": "response.function_call_arguments.delta", "item_id": item["id"], "output_index": index, "delta": one} for one in cut(item["arguments"])]
                events.append({"type": "response.function_call_arguments.done", "item_id": item["id"], "output_index": index, "name": item["name"], "arguments": item["arguments"]})
            if item["type"] == "message":
                for at, part in enumerate(item["content"]):
                    kind = "output_text" if part["type"] == "output_text" else "refusal"
                    content = part.get("text") or part.get("refusal")
                    place = {"item_id": item["id"], "output_index": index, "content_index": at}
                    events.append({"type": "response.content_part.added", **place, "part": {**part, ("text" if kind == "output_text" else "refusal"): ""}})
                    events += [{"type": f"response.{kind}.delta", **place, "delta": one, "logprobs": []} for one in cut(content)]
                    events.append({"type": "response.content_part.done", **place, "part": part})
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        events.append({"type": f"response.{status}", "response": whole})
        return whole, sse(*({**event, "sequence_number": number} for number, event in enumerate(events)), named=True)

    remote_calls = [{"id": "ws_1", "name": "web_search", "arguments": {"type": "search", "query": "order 7"}}, {"id": "mcp_1", "name": "find", "arguments": {"q": "7"}}]
    yield "reasoning, tools of the provider, a call", *pair(reasoning, search, remote, text(said), function), {"remote": remote_calls}
    yield "refusal", *pair(text(refusal)), {"refusal": True}
    yield "cut by the limit", *pair(reasoning, text(said), status="incomplete", incomplete_details={"reason": "max_output_tokens"}), {}


def messages(blocks, stop, usage):
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-4-5", "content": blocks, "stop_reason": stop, "stop_sequence": None, "usage": usage}
    events = [{"type": "message_start", "message": {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}}, {"type": "ping"}]
    for index, block in enumerate(blocks):
        kind = block["type"]
        place = {"type": "content_block_delta", "index": index}
        start, deltas = block, []
        if kind == "text":
            start, deltas = {**block, "text": ""}, [{"type": "text_delta", "text": one} for one in cut(block["text"])]
        elif kind == "thinking":
            start = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": one} for one in cut(block["thinking"])] + [{"type": "signature_delta", "signature": block["signature"]}]
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            start, deltas = {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": one} for one in ["", *cut(json.dumps(block["input"]))]]
        events += [{"type": "content_block_start", "index": index, "content_block": start}, *({**place, "delta": delta} for delta in deltas), {"type": "content_block_stop", "index": index}]
    events += [{"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": usage["output_tokens"]}}, {"type": "message_stop"}]
    return whole, events


def anthropic_cases():
    usage = {"input_tokens": 6, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 64, "output_tokens": 30}
    use = {"type": "tool_use", "id": "toolu_1", "name": "lookup_order", "input": json.loads(ARGUMENTS)}
    found = [{"type": "web_search_result", "title": "Order 7", "url": "https://shop.example/7", "encrypted_content": "x", "page_age": None}]
    search = [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "order 7"}}, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": found}]
    text = lambda words: {"type": "text", "text": words}
    thinking = [{"type": "thinking", "thinking": "The user wants…", "signature": "c2ln"}, {"type": "redacted_thinking", "data": "b3BhcXVl"}]
    yield "thinking, a search of the provider, a call", [*thinking, *search, text("Found. "), text("Looking."), use], "tool_use", usage, {"remote": [{"id": "srvtoolu_1", "name": "web_search", "arguments": {"query": "order 7"}}]}
    yield "no arguments", [{**use, "name": "noop", "input": {}}], "tool_use", usage, {}
    yield "refusal", [text("No.")], "refusal", usage, {"refusal": True}
    yield "a long turn is paused", [text("So far")], "pause_turn", usage, {}


def anthropic():
    for name, blocks, stop, usage, more in anthropic_cases():
        whole, events = messages(blocks, stop, usage)
        yield name, whole, sse(*events, named=True), more


def bedrock_anthropic():
    for name, blocks, stop, usage, more in anthropic_cases():
        whole, events = messages(blocks, stop, usage)
        yield name, whole, wrapped(*events), more


def converse():
    usage = {"inputTokens": 6, "outputTokens": 30, "totalTokens": 100, "cacheReadInputTokens": 64, "cacheWriteInputTokens": 0}

    def pair(blocks, stop):
        whole = {"output": {"message": {"role": "assistant", "content": blocks}}, "stopReason": stop, "usage": usage, "metrics": {"latencyMs": 5}}
        events = [("messageStart", {"role": "assistant"})]
        for index, block in enumerate(blocks):
            at = {"contentBlockIndex": index}
            if "text" in block:
                events += [("contentBlockDelta", {**at, "delta": {"text": one}}) for one in cut(block["text"])]
            elif "reasoningContent" in block:
                reasoned = block["reasoningContent"]["reasoningText"]
                events += [("contentBlockDelta", {**at, "delta": {"reasoningContent": {"text": one}}}) for one in cut(reasoned["text"])]
                events.append(("contentBlockDelta", {**at, "delta": {"reasoningContent": {"signature": reasoned["signature"]}}}))
            else:
                use = block["toolUse"]
                events.append(("contentBlockStart", {**at, "start": {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}}))
                events += [("contentBlockDelta", {**at, "delta": {"toolUse": {"input": one}}}) for one in (cut(json.dumps(use["input"])) if use["input"] else [])]
            events.append(("contentBlockStop", at))
        events += [("messageStop", {"stopReason": stop}), ("metadata", {"usage": usage, "metrics": {"latencyMs": 5}})]
        return whole, frames(*events)

    use = lambda input: {"toolUse": {"toolUseId": "tooluse_1", "name": "lookup_order", "input": input}}
    thought = {"reasoningContent": {"reasoningText": {"text": "The user wants…", "signature": "c2ln"}}}
    yield "reasoning, text, a call", *pair([thought, {"text": "Looking."}, use(json.loads(ARGUMENTS))], "tool_use"), {}
    yield "no arguments", *pair([use({})], "tool_use"), {}
    yield "stopped by a guardrail", *pair([{"text": "Sorry."}], "guardrail_intervened"), {"refusal": True}


def gemini():
    usage = {"promptTokenCount": 70, "candidatesTokenCount": 18, "thoughtsTokenCount": 12, "cachedContentTokenCount": 64, "totalTokenCount": 100}

    def pair(*parts, finish="STOP"):
        base = {"modelVersion": "gemini-2.5-pro-001", "responseId": "r1"}
        of = lambda parts, **more: {"candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, **more}], **base}
        pieces = [{**part, "text": one} for part in parts for one in (cut(part["text"]) if "text" in part else [None])]
        pieces = [{key: value for key, value in piece.items() if value is not None} for piece in pieces]
        chunks = [of([piece]) for piece in pieces[:-1]] + [{**of(pieces[-1:], finishReason=finish), "usageMetadata": usage}]
        return {**of(list(parts), finishReason=finish), "usageMetadata": usage}, sse(*chunks)

    call = lambda **more: {"functionCall": {"name": "lookup_order", "args": json.loads(ARGUMENTS), **more}, "thoughtSignature": "c2ln"}
    yield "thoughts, text, calls without ids", *pair({"text": "The user wants…", "thought": True}, {"text": "Looking."}, call(), call()), {}
    yield "a call with an id", *pair(call(id="fc1")), {}
    code = {"executableCode": {"language": "PYTHON", "code": "print(7)"}}
    yield "code that the provider runs", *pair(code, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "7"}}, {"text": "7."}), {"remote": [{"id": None, "name": "code_execution", "arguments": code["executableCode"]}]}
    yield "stopped for safety", *pair({"text": "Well"}, finish="SAFETY"), {"refusal": True}


def mistral():
    answer = lambda message, finish: {"id": "m1", "object": "chat.completion", "created": 1, "model": "magistral-medium", "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}], "usage": {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}}

    def parts(whole, *deltas):
        base = {"id": "m1", "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
        last = {**base, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": whole["choices"][0]["finish_reason"]}], "usage": whole["usage"]}
        return sse(*({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas), last, done=True)

    call = {"id": "D681PevKs", "function": {"name": "lookup_order", "arguments": ARGUMENTS}, "index": 0}
    called = answer({"content": "", "tool_calls": [call]}, "tool_calls")
    yield "a call", called, parts(called, {"role": "assistant", "content": ""}, {"content": "", "tool_calls": [call]}), {}


def cohere():
    usage = {"billed_units": {"input_tokens": 12.0, "output_tokens": 9.0}, "tokens": {"input_tokens": 70.0, "output_tokens": 30.0}}
    call = {"id": "lookup_order_k1", "type": "function", "function": {"name": "lookup_order", "arguments": ARGUMENTS}}
    called = {"id": "c1", "message": {"role": "assistant", "tool_plan": "I will look.", "tool_calls": [call]}, "finish_reason": "TOOL_CALL", "usage": usage}
    begin = {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}
    end = lambda finish: {"type": "message-end", "delta": {"finish_reason": finish, "usage": usage}}
    plan = [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": one}}} for one in cut("I will look.")]
    started = {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {**call, "function": {"name": "lookup_order", "arguments": ""}}}}}
    deltas = [{"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": one}}}}} for one in cut(ARGUMENTS)]
    yield "a plan and a call", called, sse(begin, *plan, started, *deltas, {"type": "tool-call-end", "index": 0}, end("TOOL_CALL"), named=True), {}
    thought = {"type": "thinking", "thinking": "The user wants…"}
    text = lambda words: {"type": "text", "text": words}
    spoken = {"id": "c1", "message": {"role": "assistant", "content": [thought, text("Paid "), text("today.")]}, "finish_reason": "COMPLETE", "usage": usage}
    at = lambda index, content, kind="content-delta": {"type": kind, "index": index, "delta": {"message": {"content": content}}}
    block = lambda index, start, *words: [at(index, start, "content-start"), *(at(index, one) for one in words), {"type": "content-end", "index": index}]
    events = [*block(0, {**thought, "thinking": ""}, {"thinking": "The user wants…"}), *block(1, text(""), {"text": "Paid "}), *block(2, text(""), {"text": "today."})]
    yield "thinking and two parts of text", spoken, sse(begin, *events, end("COMPLETE"), named=True), {}


def ollama():
    base = {"model": "qwen3:8b", "created_at": "2026-01-01T00:00:00Z"}
    end = {"done": True, "done_reason": "stop", "total_duration": 5, "prompt_eval_count": 70, "eval_count": 30}
    call = {"function": {"name": "lookup_order", "arguments": json.loads(ARGUMENTS)}}
    said = lambda **more: {"message": {"role": "assistant", "content": "", **more}}
    whole = {**base, **said(content="Looking.", thinking="The user wants…", tool_calls=[call]), **end}
    parts = [said(thinking=one) for one in cut("The user wants…")] + [said(content=one) for one in cut("Looking.")] + [said(tool_calls=[call])]
    yield "thinking, text, a call", whole, lines(*({**base, **part, "done": False} for part in parts), {**base, **said(), **end}), {}


# What each provider sends when it refuses to serve, and the word that names the reason.
ERRORS = {
    "openai chat": (429, {"error": {"message": "Too many", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}, "rate_limit_error"),
    "openai responses": (400, {"error": {"message": "Bad", "type": "invalid_request_error", "code": None}}, "invalid_request_error"),
    "anthropic": (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded_error"),
    "anthropic bedrock": (400, {"message": "bad input", "__type": "ValidationException"}, "bad input"),
    "google-genai": (429, {"error": {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED"}}, "RESOURCE_EXHAUSTED"),
    "mistralai": (401, {"message": "Unauthorized", "request_id": "1"}, "Unauthorized"),
    "cohere": (401, {"message": "invalid api token"}, "invalid api token"),
    "ollama": (404, {"error": "model 'qwen3:8b' not found"}, "model 'qwen3:8b' not found"),
    "botocore converse": (403, {"message": "not authorized"}, "not authorized"),
}

SHAPES = {
    "openai chat": chat,
    "openai responses": responses,
    "anthropic": anthropic,
    "anthropic bedrock": bedrock_anthropic,
    "google-genai": gemini,
    "mistralai": mistral,
    "cohere": cohere,
    "ollama": ollama,
    "botocore converse": converse,
}


def calls(driver, server):
    """Asks for each shape whole and as a stream, then for an error; gives name, stream, what was answered."""
    for name, whole, stream, more in SHAPES.get(driver.name, tuple)():
        for streamed in (False, True):
            server.answer = (200, *(stream if streamed else ("application/json", json.dumps(whole).encode())))
            yield name, streamed, {**driver.ask(ASKED, streamed), **more}
    if driver.name in ERRORS:
        status, body, word = ERRORS[driver.name]
        server.answer = (status, "application/json", json.dumps(body).encode())
        try:
            driver.ask(ASKED, False)
        except Exception:
            # Each SDK has an exception of its own; what matters is that it sees an error.
            yield "error", False, {"error": word, "failed": True, "text": "", "calls": []}
        else:
            raise AssertionError(f"{driver.name} takes {body} for an answer")
