"""Ten conversations at once by the `openai` package: ten tasks of one asyncio program, then ten programs, as recordings.

    many.py OUT        OUT gets `one.jsonl` and `ten.jsonl`
    many.py NUMBERS PORT     is such a program: the conversations of these numbers, through the proxy at PORT

All begin with the same words. The number of an order tells whose it is: 70000 + 100 * conversation + round.
"""

import asyncio
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

ROUNDS, MANY = 12, 10
TOOLS = [{"type": "function", "function": {"name": "refund_order", "description": "Pays an order back", "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}}}}}]


class Desk(http.server.BaseHTTPRequestHandler):
    """The model and the shop. Which conversation asks, a header tells that only this desk reads."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = self.model(body) if self.path.endswith("/completions") else {"refunded": self.path.split("/")[3]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def model(self, body):
        done = sum(message["role"] == "tool" for message in body["messages"])
        order = str(70_000 + 100 * int(self.headers["x-conversation"]) + done)
        call = {"id": f"call_{order}", "type": "function", "function": {"name": "refund_order", "arguments": json.dumps({"order_id": order, "amount": 5})}}
        more = {"content": None, "tool_calls": [call]} if done < ROUNDS else {"content": "Done, all of it."}
        choice = {"index": 0, "message": {"role": "assistant", **more}, "finish_reason": "tool_calls" if done < ROUNDS else "stop", "logprobs": None}
        return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}

    def log_message(self, *_):
        pass


async def converse(number, client, shop):
    messages = [{"role": "user", "content": "Please refund the open orders."}]
    while True:
        answer = await client.chat.completions.create(model="gpt-5", messages=messages, tools=TOOLS, extra_headers={"x-conversation": str(number)})
        message = answer.choices[0].message
        if not message.tool_calls:
            return
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls:
            order = json.loads(call.function.arguments)["order_id"]
            # Others have their turn between the decision and what follows from it.
            await asyncio.sleep(0)
            paid = await shop.post(f"/v1/orders/{order}/refunds", json={"amount": 5})
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"refunded {paid.json()['refunded']}"})


async def program(numbers, port):
    import httpx
    import openai

    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *more, **named: resolve("127.0.0.1" if "." in str(host) else host, *more, **named)
    base = f"http://api.openai.com:{port}/v1"
    async with openai.AsyncOpenAI(base_url=base, api_key="test", max_retries=0) as client, httpx.AsyncClient(base_url=f"http://shop.example:{port}", timeout=60) as shop:
        await asyncio.gather(*(converse(number, client, shop) for number in numbers))


def record(path, groups, upstream):
    import wire

    recording = wire.Recording(path)
    programs = []
    for place, numbers in enumerate(groups):
        pid = 100 + place
        recording.put(kind="exec", pid=pid, ppid=1, start=pid, exe="/usr/bin/python3", argv=["python3", "agent.py"])
        proxy = wire.Wire(recording, lambda: upstream, pid)
        words = [sys.executable, __file__, ",".join(map(str, numbers)), str(proxy.port)]
        programs.append((proxy, subprocess.Popen(words, env={**os.environ, "NO_PROXY": "*"})))
    for proxy, program in programs:
        assert program.wait() == 0, "a program failed"
        proxy.close()
    recording.close()


def main():
    if len(sys.argv) == 3:
        return asyncio.run(program([int(number) for number in sys.argv[1].split(",")], sys.argv[2]))
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    out = pathlib.Path(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Desk)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    record(out / "one.jsonl", [range(MANY)], server.server_address[1])
    record(out / "ten.jsonl", [[number] for number in range(MANY)], server.server_address[1])


main()
