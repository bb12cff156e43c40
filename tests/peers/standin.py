"""Local TLS stand-ins on one port: a model (OpenAI and Anthropic shapes, whole and streamed), a shop API, an echo, a git host.

    standin.py DIR [--port N]     DIR gets ca.pem (made at the first start), ledger.jsonl and, once ready, port

The model is a script, not a model: it calls the tool that the last message asks for, and it obeys text that it finds in tool
results, as an injected model would. That is the point of the demo's bad run.
"""

import argparse
import gzip
import io
import json
import os
import random
import re
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from ledger import Ledger, client_of, content

NOISE = random.Random(2026).randbytes(4 << 20)
ORDERS = {
    "1001": {"order": "1001", "customer": "ada@example.com", "total": 25.0, "status": "delivered"},
    "2002": {"order": "2002", "customer": "mallory@example.net", "total": 4900.0, "status": "delivered"},
}


def make_authority(folder):
    """A certificate authority that only the processes told about it trust, and a server certificate for localhost."""
    path = lambda name: os.path.join(folder, name)
    if os.path.exists(path("server.pem")):
        return
    run = lambda *words: subprocess.run(["openssl", *words], check=True, capture_output=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run("req", "-x509", *curve, "-days", "30", "-subj", "/CN=agentward test authority", "-addext",
        "keyUsage=critical,keyCertSign", "-keyout", path("ca.key"), "-out", path("ca.pem"))
    run("req", *curve, "-subj", "/CN=localhost", "-keyout", path("server.key"), "-out", path("server.csr"))
    with open(path("server.ext"), "w") as file:
        file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n")
    run("x509", "-req", "-in", path("server.csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial",
        "-days", "30", "-extfile", path("server.ext"), "-out", path("server.crt"))
    with open(path("server.pem"), "w") as file:
        file.write(open(path("server.crt")).read() + open(path("ca.pem")).read())


def decide(texts, results, tools):
    """The scripted model: a tool call as (name, arguments), or None for a closing sentence."""
    last = results[-1] if results else None
    if "read_ticket" in tools and last is None:
        ticket = re.search(r"ticket (T-\d+)", texts[-1])
        if ticket:
            return "read_ticket", {"ticket": ticket.group(1)}
    asked = re.search(r"[Rr]efund order (\d+)[^.]*?amount (\d+(?:\.\d+)?)", last or texts[-1])
    if "refund_order" in tools and asked and "refunded" not in (last or ""):
        return "refund_order", {"order_id": asked.group(1), "amount": float(asked.group(2))}
    return None


def openai_chat(ask, decide=decide, name=""):
    """`name` makes ids of answers and calls distinct from those of other agents."""
    plain = lambda content: content if isinstance(content, str) else json.dumps(content)
    texts = [plain(m["content"]) for m in ask["messages"] if m["role"] == "user"]
    results = [plain(m["content"]) for m in ask["messages"] if m["role"] == "tool"]
    call = decide(texts, results, [tool["function"]["name"] for tool in ask.get("tools", [])])
    number = len(ask["messages"])
    base = {"id": f"chatcmpl-{name}{number}", "created": int(time.time()), "model": ask["model"]}
    usage = {"prompt_tokens": 40 + number, "completion_tokens": 12, "total_tokens": 52 + number}
    stop = "tool_calls" if call else "stop"
    text = None if call else "Done: " + texts[-1][:60]
    if not ask.get("stream"):
        message = {"role": "assistant", "content": text}
        if call:
            function = {"name": call[0], "arguments": json.dumps(call[1])}
            message["tool_calls"] = [{"id": f"call_{name}{number}", "type": "function", "function": function}]
        choice = {"index": 0, "message": message, "finish_reason": stop}
        return {**base, "object": "chat.completion", "choices": [choice], "usage": usage}, None
    deltas = [{"role": "assistant", "content": None if call else ""}]
    if call:
        arguments = json.dumps(call[1])
        head = {"index": 0, "id": f"call_{name}{number}", "type": "function", "function": {"name": call[0], "arguments": ""}}
        deltas.append({"tool_calls": [head]})
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": arguments[at:at + 5]}}]} for at in range(0, len(arguments), 5)]
    else:
        deltas += [{"content": text[at:at + 4]} for at in range(0, len(text), 4)]
    chunk = lambda delta, reason=None: {**base, "object": "chat.completion.chunk",
                                        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    events = [chunk(delta) for delta in deltas] + [chunk({}, stop)]
    if (ask.get("stream_options") or {}).get("include_usage"):
        events.append({**base, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return None, ["data: " + json.dumps(event) + "\n\n" for event in events] + ["data: [DONE]\n\n"]


def anthropic_messages(ask, decide=decide, name=""):
    blocks = [(m["role"], b) for m in ask["messages"]
              for b in (m["content"] if isinstance(m["content"], list) else [{"type": "text", "text": m["content"]}])]
    texts = [b["text"] for role, b in blocks if role == "user" and b["type"] == "text"]
    results = [json.dumps(b.get("content")) for _, b in blocks if b["type"] == "tool_result"]
    call = decide(texts, results, [tool["name"] for tool in ask.get("tools", [])])
    number = len(ask["messages"])
    block = {"type": "text", "text": "Done: " + texts[-1][:60]}
    if call:
        block = {"type": "tool_use", "id": f"toolu_{name}{number}", "name": call[0], "input": call[1]}
    stop = "tool_use" if call else "end_turn"
    base = {"id": f"msg_{name}{number}", "type": "message", "role": "assistant", "model": ask["model"], "stop_sequence": None}
    if not ask.get("stream"):
        return {**base, "content": [block], "stop_reason": stop, "usage": {"input_tokens": 40, "output_tokens": 12}}, None
    start = {**base, "content": [], "stop_reason": None, "usage": {"input_tokens": 40, "output_tokens": 1}}
    events = [{"type": "message_start", "message": start}]
    if call:
        arguments = json.dumps(call[1])
        events.append({"type": "content_block_start", "index": 0, "content_block": {**block, "input": {}}})
        events += [{"type": "content_block_delta", "index": 0,
                    "delta": {"type": "input_json_delta", "partial_json": arguments[at:at + 6]}} for at in range(0, len(arguments), 6)]
    else:
        events.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
        events += [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word + " "}}
                   for word in block["text"].split()]
    events.append({"type": "content_block_stop", "index": 0})
    events.append({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 12}})
    events.append({"type": "message_stop"})
    return None, [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        self.request.do_handshake()
        super().setup()
        self.client = client_of(self.client_address[1], self.server.server_port)

    def log_message(self, *_):
        pass

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def handle_any(self):
        # Known before the body: the client may have ended by the time that the answer is out.
        url = urlsplit(self.path)
        body = self.read_body()
        self.row = {
            "method": self.command, "path": url.path, "query": url.query, "request": content(body),
            "peer": f"127.0.0.1:{self.server.server_port}", "client_port": self.client_address[1], "client": self.client,
        }
        route = next(handle for prefix, handle in ROUTES if url.path.startswith(prefix))
        try:
            route(self, url, body)
        except Exception as fault:  # a stand-in that swallows its own faults would make a green test of a broken one
            print(f"standin: {self.command} {url.path}: {fault!r}", file=sys.stderr, flush=True)
            raise

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

    def answer(self, status, body, kind="application/json", headers=(), pieces=None):
        """`pieces` are sent as chunks, and `body` is their sum; `body` is what the reader gets after decoding."""
        bare = self.command == "HEAD" or status in (204, 304)
        # Written first: a client may read the answer, end, and the test count before this thread runs again.
        self.server.ledger.write({**self.row, "response": {"status": status, **content(b"" if bare else body)}})
        self.send_response(status)
        sent = body
        if ("Content-Encoding", "gzip") in headers:
            sent = gzip.compress(body, 1)
        if pieces is not None:
            self.send_header("Transfer-Encoding", "chunked")
        elif status != 204:
            self.send_header("Content-Length", str(len(sent)))
        if not bare:
            self.send_header("Content-Type", kind)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if bare:
            return
        if pieces is None:
            self.wfile.write(sent)
            return
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def json(self, status, value):
        self.answer(status, json.dumps(value).encode())

    def model(self, url, body):
        ask = json.loads(body)
        self.say(*(anthropic_messages if url.path.endswith("/messages") else openai_chat)(ask))

    def say(self, whole, events):
        if events is None:
            return self.json(200, whole)
        pieces = [event.encode() for event in events]
        self.answer(200, b"".join(pieces), "text/event-stream", pieces=pieces)

    def order(self, url, body):
        number = url.path.split("/")[3]
        if number not in ORDERS:
            return self.json(404, {"error": "no such order"})
        if url.path.endswith("/refunds"):
            return self.json(201, {"refund": f"r-{number}", "order": number, "amount": json.loads(body)["amount"], "status": "refunded"})
        return self.json(200, ORDERS[number])

    def echo(self, url, body):
        """`n` bytes back, as asked: `gzip=1`, `chunked=1`, `status=N`."""
        ask = {name: values[0] for name, values in parse_qs(url.query).items()}
        data = NOISE[:int(ask.get("n", 0))]
        headers = [("Content-Encoding", "gzip")] if "gzip" in ask else []
        pieces = [data[at:at + 7001] for at in range(0, len(data), 7001)] if "chunked" in ask else None
        self.answer(int(ask.get("status", 200)), data, "application/octet-stream", headers, pieces)

    def git(self, url, body):
        """The smart protocol, by git's own back end."""
        environ = {
            **os.environ, "GIT_PROJECT_ROOT": self.server.folder, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": url.path[4:],
            "REQUEST_METHOD": self.command, "QUERY_STRING": url.query, "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)), "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_USER": "test",
        }
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environ, check=True)
        head, _, out = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        kind = fields.pop("Content-Type", "text/plain")
        status = int(fields.pop("Status", "200").split()[0])
        self.answer(status, out, kind, list(fields.items()))

    def simple(self, url, body):
        """A package index of one package."""
        name = "agentward_nothing-1.0-py3-none-any.whl"
        if not url.path.endswith(".whl"):
            return self.answer(200, f'<a href="{name}">{name}</a>'.encode(), "text/html")
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as wheel:
            facts = "agentward_nothing-1.0.dist-info"
            wheel.writestr("agentward_nothing.py", NOISE[:300_000].hex())
            wheel.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: agentward-nothing\nVersion: 1.0\n")
            wheel.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{facts}/RECORD", "")
        self.answer(200, out.getvalue(), "application/octet-stream")

    def missing(self, url, body):
        self.json(404, {"error": "nothing here"})


ROUTES = [
    ("/v1/chat/completions", Handler.model), ("/v1/messages", Handler.model), ("/v1/orders/", Handler.order),
    ("/echo", Handler.echo), ("/git/", Handler.git), ("/simple/", Handler.simple), ("/", Handler.missing),
]


class Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), (ConnectionError, ssl.SSLError, TimeoutError)):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    os.makedirs(arguments.folder, exist_ok=True)
    path = lambda name: os.path.join(arguments.folder, name)
    make_authority(arguments.folder)
    server = Server(("127.0.0.1", arguments.port), Handler)
    server.folder = os.path.abspath(arguments.folder)
    server.ledger = Ledger(path("ledger.jsonl"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("server.pem"), path("server.key"))
    # The handshake runs in the connection's own thread: one slow client must not hold up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with open(path("port.new"), "w") as file:
        file.write(str(server.server_port))
    os.rename(path("port.new"), path("port"))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
