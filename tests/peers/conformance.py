"""Traffic made by other implementations, as a recording, and what was said in it.

    conformance.py SEED CONNECTIONS RECORDING TRUTH

Encoders: h11, h2 with hpack, wsproto, grpcio (real sockets), zlib, brotli, zstandard; event streams are read back by botocore. Each
connection is cut into chunks anywhere. TRUTH has one JSON object a line: the exchanges and messages in the shape of
`replay --emit exchanges --reveal`, as far as the sender knows them.
"""
import base64, binascii, concurrent.futures, contextlib, gzip, hashlib, json, random, socket, struct, sys, threading, zlib

import brotli, grpc, h11, h2.config, h2.connection, h2.events, h2.settings, zstandard
from botocore.eventstream import EventStreamBuffer
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection as Frames
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

WORDS = "agent tool order refund transfer model answer price weather Grüße 数据 paid".split()


class World:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.records, self.truth, self.clock, self.conns = [], [], 1_790_000_000_000_000_000, 0

    def conn(self, source="openssl"):
        self.conns += 1
        return Wire(self, f"c{self.conns}", source)


class Wire:
    """One connection; what is said goes into the recording in pieces."""

    def __init__(self, world, name, source):
        self.world, self.name, self.source, self.rng = world, name, source, world.rng

    def say(self, direction, data):
        data = bytes(data)
        pieces = self.rng.choice([1 << 20, 1 << 20, 4096, 700, 37])
        at = 0
        while at < len(data):
            size = max(1, min(self.rng.randint(1, 2 * pieces), len(data) - at))
            self.put({"kind": "chunk", "dir": direction, "data": base64.b64encode(data[at : at + size]).decode(), "source": self.source})
            at += size

    def put(self, record):
        self.world.clock += 1000
        self.world.records.append({"ts": self.world.clock, "pid": 100, "conn": self.name, **record})

    def close(self):
        self.put({"kind": "close"})

    def exchange(self, protocol, request, response, stream=None, incomplete=()):
        self.world.truth.append({"conn": self.name, "protocol": protocol, "stream": stream, "request": request, "response": response, "incomplete": list(incomplete)})

    def message(self, direction, opcode, payload):
        self.world.truth.append({"conn": self.name, "protocol": "websocket", "dir": direction, "opcode": opcode, "body": body(payload)})


def body(data):
    return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest(), "complete": True}


def said(method, host, target, headers, data, trailers=(), scheme="https"):
    path, _, query = target.partition("?")
    return with_trailers({"method": method, "scheme": scheme, "host": host, "path": path, "query": query, "headers": fields(headers), "body": body(data)}, trailers)


def answered(status, headers, data, events=0, trailers=()):
    return with_trailers({"status": status, "headers": fields(headers), "body": body(data), "events": events}, trailers)


def with_trailers(half, trailers):
    return {**half, "trailers": fields(trailers)} if trailers else half


def fields(headers):
    return [[name, value] for name, value in headers if not name.startswith(":")]


def content(rng, limit=20_000):
    kind = rng.randrange(4)
    if kind == 0:
        return b""
    if kind == 1:
        return rng.randbytes(rng.randint(1, limit))
    if kind == 2:
        return json.dumps({rng.choice(WORDS): [rng.choice(WORDS)] * rng.randint(1, 40)}).encode()
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 2000))).encode()


def raw_deflate(data):
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


def members(data):
    return gzip.compress(data[: len(data) // 2], mtime=0) + gzip.compress(data[len(data) // 2 :], mtime=0)


CODINGS = [
    ("gzip", lambda data: gzip.compress(data, mtime=0)),
    ("gzip", members),
    ("x-gzip", lambda data: gzip.compress(data, mtime=0)),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("br", brotli.compress),
    ("zstd", lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data)),
    ("zstd", lambda data: zstandard.compress(data[:100]) + zstandard.compress(data[100:])),
]


def coded(rng, data, headers):
    """Some bodies under one or two codings."""
    names = []
    for _ in range(rng.choice([0, 0, 1, 1, 1, 2])):
        if not data:
            break
        name, encode = rng.choice(CODINGS)
        names.append(name)
        data = encode(data)
    if names:
        if len(names) == 2 and rng.random() < 0.5:
            headers += [("content-encoding", names[0]), ("content-encoding", names[1])]
        else:
            headers.append(("content-encoding", rng.choice([", ", ","]).join(names)))
    return data


def sse(rng):
    """A stream in any legal dress, and its number of events."""
    end, parts, events = rng.choice(["\n", "\r\n", "\r"]), [], 0
    for number in range(rng.randint(1, 30)):
        lines = []
        if rng.random() < 0.3:
            lines.append(":" + rng.choice(["", " keep-alive", "data: no"]))
        if rng.random() < 0.4:
            lines.append("event: " + rng.choice(WORDS))
        if rng.random() < 0.4:
            lines.append(f"id:{number}")
        if rng.random() < 0.1:
            lines.append("retry: 10")
        data = [rng.choice(["data: ", "data:"]) + rng.choice(WORDS) for _ in range(rng.choice([0, 1, 1, 1, 3]))]
        if rng.random() < 0.1:
            data.append("data")
        events += bool(data)
        parts.append(end.join(lines + data) + 2 * end)
    return ((b"\xef\xbb\xbf" if rng.random() < 0.2 else b"") + "".join(parts).encode(), events)


def eventstream(rng):
    messages = []
    for _ in range(rng.randint(1, 10)):
        headers = b""
        for name, value in [(":message-type", "event"), (":event-type", "chunk"), (":content-type", "application/json")]:
            headers += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        headers += b"\x04flag\x00" + b"\x03num\x04" + struct.pack(">i", -5) + b"\x04when\x08" + struct.pack(">q", 1)
        payload = json.dumps({"bytes": base64.b64encode(rng.randbytes(rng.randint(0, 300))).decode()}).encode()
        prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
        message = prelude + struct.pack(">I", binascii.crc32(prelude)) + headers + payload
        messages.append(message + struct.pack(">I", binascii.crc32(message)))
    data = b"".join(messages)
    judge = EventStreamBuffer()
    judge.add_data(data)
    return data, sum(1 for _ in judge)


def answer_content(rng, headers):
    """A response body and the number of framed events in it."""
    kind = rng.randrange(6)
    if kind == 0:
        data, events = sse(rng)
        headers.append(("content-type", rng.choice(["text/event-stream", "Text/Event-Stream; charset=utf-8"])))
    elif kind == 1:
        data, events = eventstream(rng)
        headers.append(("content-type", "application/vnd.amazon.eventstream"))
    elif kind == 2:
        lines = [json.dumps({"n": number, "w": rng.choice(WORDS)}, ensure_ascii=False) for number in range(rng.randint(1, 20))]
        data, events = ("\n".join(lines) + rng.choice(["", "\n"])).encode(), len(lines)
        headers.append(("content-type", rng.choice(["application/x-ndjson", "application/jsonl"])))
    else:
        data, events = content(rng), 0
        headers.append(("content-type", "application/octet-stream"))
    return data, events


def target(rng):
    return rng.choice(["/", "/v1/chat/completions", "/a%20b/c;d=1", "/v1/orders?id=1&q=%3D", "/x?", "/s?a?b"])


# ---------------------------------------------------------------- HTTP/1


def h1(world):
    rng, wire = world.rng, world.conn()
    client, server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    for number in range(rng.randint(1, 8)):
        method = rng.choice(["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"])
        where, headers = target(rng), [("Host", "api.example"), ("X-Word", rng.choice(WORDS).encode("ascii", "ignore").decode())]
        data = content(rng) if method in ("POST", "PUT", "PATCH") else b""
        sent = coded(rng, data, headers)
        trailers = chunked_or_length(rng, sent, headers)
        last = rng.random() < 0.15
        asked = said(method, "api.example", where, [(name.lower(), value) for name, value in headers], data, trailers)
        out = push(client, rng, h11.Request(method=method, target=where, headers=headers), sent, trailers)
        wire.say("out", out)
        read_request(server, out)
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            wire.say("in", server.send(h11.InformationalResponse(status_code=rng.choice([100, 103]), headers=[("Link", "</a>")])))
        status = rng.choice([200, 200, 201, 400, 404, 429, 500, 204, 304])
        headers = [("Date", "today"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
        if status in (204, 304) or method == "HEAD":
            data, sent, events, trailers = b"", b"", 0, ()
            if method == "HEAD" and status == 200:
                headers.append(("Content-Length", "1234"))
            head = server.send(h11.Response(status_code=status, headers=headers, reason="Ok"))
            headers = head_fields(head)  # h11 may add how long a body would have been
            wire.say("in", head + server.send(h11.EndOfMessage()))
        else:
            data, events = answer_content(rng, headers)
            sent = coded(rng, data, headers)
            if last and rng.random() < 0.5:
                headers, trailers = headers + [("Connection", "close")], ()
                head = b"HTTP/1.1 %d Ok\r\n" % status + b"".join(f"{n}: {v}\r\n".encode() for n, v in headers) + b"\r\n"
                wire.say("in", head + sent)
            else:
                trailers = chunked_or_length(rng, sent, headers)
                wire.say("in", push(server, rng, h11.Response(status_code=status, headers=headers, reason="Ok"), sent, trailers))
        wire.exchange("http/1.1", asked, answered(status, [(name.lower(), value) for name, value in headers], data, events, trailers))
        if last or client.our_state is not h11.DONE:
            break
        client, server = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    wire.close()


def chunked_or_length(rng, data, headers):
    if rng.random() < 0.5:
        headers.append(("Transfer-Encoding", "chunked"))
        return [("x-sum", "1"), ("x-more", "a b")] if rng.random() < 0.3 else ()
    headers.append(("Content-Length", str(len(data))))
    return ()


def push(connection, rng, head, data, trailers):
    out, at = connection.send(head), 0
    while at < len(data):
        size = rng.randint(1, 5000)
        out += connection.send(h11.Data(data=data[at : at + size]))
        at += size
    return out + connection.send(h11.EndOfMessage(headers=list(trailers)))


def read_request(server, data):
    """The server's end must have read the request before it may answer."""
    server.receive_data(data)
    while server.next_event() not in (h11.NEED_DATA, h11.PAUSED):
        pass


def h1_pipelined(world):
    """Requests sent without waiting, answers in order."""
    rng, wire = world.rng, world.conn()
    asked, out = [], b""
    for number in range(rng.randint(2, 12)):
        method, data = rng.choice([("GET", b""), ("HEAD", b""), ("POST", content(rng, 500))])
        headers = [("Host", "api.example")] + ([("Content-Length", str(len(data)))] if method == "POST" else [])
        where = f"/p/{number}"
        out += push(h11.Connection(h11.CLIENT), rng, h11.Request(method=method, target=where, headers=headers), data, ())
        asked.append((method, said(method, "api.example", where, [(n.lower(), v) for n, v in headers], data)))
    wire.say("out", out)
    back = b""
    for method, request in asked:
        data = b"" if method == "HEAD" else content(rng, 500)
        headers = [("content-length", str(len(data)) if method != "HEAD" else "77")]
        back += b"HTTP/1.1 200 OK\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in headers) + b"\r\n" + data
        wire.exchange("http/1.1", request, answered(200, headers, data))
    wire.say("in", back)
    wire.close()


# ---------------------------------------------------------------- HTTP/2


class Pair:
    """Two h2 ends joined by a wire."""

    def __init__(self, wire, settings=None):
        self.wire = wire
        self.client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.client.initiate_connection()
        self.server.initiate_connection()
        self.settle()
        if settings:
            self.server.update_settings(settings)
            self.settle()

    def settle(self):
        seen = []
        while True:
            out, back = self.client.data_to_send(), self.server.data_to_send()
            if not out and not back:
                return seen
            if out:
                self.wire.say("out", out)
                seen += self.server.receive_data(out)
            if back:
                self.wire.say("in", back)
                seen += self.client.receive_data(back)


def room(end, stream):
    return min(end.local_flow_control_window(stream), end.max_outbound_frame_size) - 260


def h2_streams(world):
    rng, wire = world.rng, world.conn()
    pair = Pair(wire, {h2.settings.SettingCodes.HEADER_TABLE_SIZE: rng.choice([0, 256, 4096, 65536]), h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100})
    cookies = [("cookie", f"k{number}=v") for number in range(rng.randint(0, 3))]
    plans = []
    for _ in range(rng.randint(1, 25)):
        stream = pair.client.get_next_available_stream_id()
        method, where = rng.choice(["GET", "POST", "PUT"]), target(rng)
        headers = cookies + [("user-agent", "t/1"), (rng.choice(["x-a", "x-b", "x-c"]), rng.choice(["1", "2", "long" * rng.randint(1, 600)]))]
        data = b"" if method == "GET" else content(rng)
        sent = coded(rng, data, headers)
        trailers = [("x-sum", "7")] if data and rng.random() < 0.2 else []
        head = [(":method", method), (":scheme", "https"), (":authority", "api.example:443"), (":path", where)] + headers
        options = dict(priority_weight=16, priority_depends_on=0, priority_exclusive=False) if rng.random() < 0.2 else {}
        pair.client.send_headers(stream, head, end_stream=not sent and not trailers, **options)
        plans.append({"stream": stream, "asked": said(method, "api.example", where, headers, data, trailers), "out": sent, "trailers": trailers, "answer": None})
        if rng.random() < 0.5:
            pair.settle()
        if rng.random() < 0.1:
            pair.client.ping(rng.randbytes(8))
    pair.settle()
    for plan in plans:
        headers = [("server", "s"), ("date", rng.choice(["a", "b"])), ("set-cookie", "a=b")]
        data, events = answer_content(rng, headers)
        sent, status = coded(rng, data, headers), rng.choice([200, 200, 201, 404, 429, 503])
        plan |= {"back": sent, "status": status, "headers": headers, "end": [("x-end", "1")] if rng.random() < 0.2 else []}
        plan["answer"] = answered(status, headers, data, events, plan["end"])
    pending = list(plans)
    while pending:
        plan = rng.choice(pending)
        stream, end = plan["stream"], pair.client
        if plan["out"] is not None:
            if send_some(rng, pair, pair.client, stream, plan, "out", plan["trailers"]):
                plan["out"] = None
            continue
        if plan["headers"] is not None:
            if rng.random() < 0.2:
                pair.server.send_headers(stream, [(":status", "103"), ("link", "</a>")])
            pair.server.send_headers(stream, [(":status", str(plan["status"]))] + plan["headers"], end_stream=not plan["back"] and not plan["end"])
            plan["headers"] = None
        elif send_some(rng, pair, pair.server, stream, plan, "back", plan["end"]):
            pending.remove(plan)
            wire.exchange("http/2", plan["asked"], plan["answer"], stream)
        pair.settle()
    if rng.random() < 0.5:
        pair.server.close_connection()
        pair.settle()
    wire.close()


def send_some(rng, pair, end, stream, plan, key, trailers):
    """Sends a piece of content; true at the end."""
    data = plan[key]
    if data:
        size = min(len(data), max(1, room(end, stream)), rng.choice([1, 100, 4000, 16000]))
        last = size == len(data) and not trailers
        padding = rng.choice([None, None, 0, 1, 200])
        end.send_data(stream, data[:size], end_stream=last, pad_length=padding)
        plan[key] = data[size:]
        other = pair.server if end is pair.client else pair.client
        for event in pair.settle():
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        pair.settle()
        return last
    if trailers:
        end.send_headers(stream, trailers, end_stream=True)
        pair.settle()
    return True


# ---------------------------------------------------------------- WebSocket


def socket_messages(world, wire, say, client, server):
    """Random messages of both ends, fragmented, with control messages in between."""
    rng, utf8 = world.rng, lambda text: text.encode()
    for _ in range(rng.randint(1, 12)):
        direction, end, other = rng.choice([("out", client, server), ("in", server, client)])
        kind = rng.randrange(4)
        if kind == 0:
            payload = rng.randbytes(rng.randint(0, 125))
            say(direction, end.send(Ping(payload)))
            wire.message(direction, "ping", payload)
        elif kind == 1:
            payload = rng.choice([rng.randbytes(rng.randint(0, 70_000)), b"z" * rng.randint(0, 3000)])
            cut = sorted(rng.randint(0, len(payload)) for _ in range(rng.choice([0, 0, 1, 5])))
            parts = [payload[a:b] for a, b in zip([0] + cut, cut + [len(payload)])]
            for number, part in enumerate(parts):
                say(direction, end.send(BytesMessage(part, message_finished=number == len(parts) - 1)))
                if number < len(parts) - 1 and rng.random() < 0.3:
                    say(direction, end.send(Pong(b"between")))
                    wire.message(direction, "pong", b"between")
            wire.message(direction, "binary", payload)
        else:
            text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, 400)))
            cut = rng.randint(0, len(text))
            say(direction, end.send(TextMessage(text[:cut], message_finished=False)))
            say(direction, end.send(TextMessage(text[cut:], message_finished=True)))
            wire.message(direction, "text", utf8(text))
    reason = rng.choice(["", "bye", "Grüße"])
    say("out", client.send(CloseConnection(1000, reason)))
    wire.message("out", "close", struct.pack(">H", 1000) + utf8(reason))


def extensions(rng):
    if rng.random() < 0.3:
        return [], []
    options = dict(client_no_context_takeover=rng.random() < 0.4, server_no_context_takeover=rng.random() < 0.4)
    return [PerMessageDeflate(**options)], [PerMessageDeflate(**options)]


def websocket(world):
    rng, wire = world.rng, world.conn()
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
    ours, theirs = extensions(rng)
    out = client.send(Request(host="ws.example", target="/socket?a=1", extensions=ours))
    wire.say("out", out)
    server.receive_data(out)
    list(server.events())
    back = server.send(AcceptConnection(extensions=theirs))
    wire.say("in", back)
    client.receive_data(back)
    list(client.events())
    wire.exchange("http/1.1", said("GET", "ws.example", "/socket?a=1", head_fields(out), b""), answered(101, head_fields(back), b""))
    socket_messages(world, wire, wire.say, client, server)
    wire.close()


def head_fields(head):
    lines = head.split(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [(name.lower(), value) for name, value in (line.split(": ", 1) for line in lines)]


def websocket_in_h2(world):
    rng, wire = world.rng, world.conn()
    pair = Pair(wire, {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
    ours, theirs = extensions(rng)
    headers = [("sec-websocket-version", "13")]
    accepted = []
    if ours:
        offer = ours[0].offer()
        headers.append(("sec-websocket-extensions", f"permessage-deflate; {offer}" if isinstance(offer, str) and offer else "permessage-deflate"))
        agreed = theirs[0].accept(headers[-1][1])
        accepted = [("sec-websocket-extensions", f"permessage-deflate; {agreed}" if isinstance(agreed, str) and agreed else "permessage-deflate")]
        ours[0].finalize(accepted[0][1])
    head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/s?x"), (":authority", "ws.example")]
    pair.client.send_headers(1, head + headers)
    pair.settle()
    pair.server.send_headers(1, [(":status", "200")] + accepted)
    pair.settle()
    wire.exchange("http/2", said("CONNECT", "ws.example", "/s?x", headers, b""), answered(200, accepted, b""), 1)

    def say(direction, data):
        end = pair.client if direction == "out" else pair.server
        other = pair.server if direction == "out" else pair.client
        while data:
            size = min(len(data), max(1, room(end, 1)))
            end.send_data(1, data[:size])
            data = data[size:]
            for event in pair.settle():
                if isinstance(event, h2.events.DataReceived):
                    other.acknowledge_received_data(event.flow_controlled_length, 1)
            pair.settle()

    socket_messages(world, wire, say, Frames(ConnectionType.CLIENT, ours), Frames(ConnectionType.SERVER, theirs))
    pair.client.end_stream(1)
    pair.server.end_stream(1)
    pair.settle()
    wire.close()


# ---------------------------------------------------------------- gRPC, over real sockets


class Tap:
    """A relay that writes down what passes."""

    def __init__(self, wire, port):
        self.wire, self.port, self.lock = wire, port, threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.threads = [threading.Thread(target=self.run)]
        self.threads[0].start()

    def run(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.port))
        self.threads += [threading.Thread(target=self.relay, args=args) for args in [(client, server, "out"), (server, client, "in")]]
        for thread in self.threads[1:]:
            thread.start()

    def relay(self, source, sink, direction):
        with contextlib.suppress(OSError):  # the other end may go first
            while data := source.recv(65536):
                with self.lock:
                    self.wire.put({"kind": "chunk", "dir": direction, "data": base64.b64encode(data).decode(), "source": "plain"})
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def join(self):
        for thread in self.threads:
            thread.join()
        self.listener.close()
        self.wire.close()


def grpc_calls(world):
    rng, wire = world.rng, world.conn("plain")
    ledger, identity = [], lambda data: data

    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method.endswith("/Missing"):
                return None
            return grpc.stream_stream_rpc_method_handler(self.serve, identity, identity)

        def serve(self, requests, context):
            received = list(requests)
            ledger.append((context.invocation_metadata(), received))
            context.set_trailing_metadata((("x-sum", str(len(received))),))
            for message in received:
                yield message[::-1]
            if received and received[0].startswith(b"fail"):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), compression=rng.choice([grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]))
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tap = Tap(wire, port)
    address = f"127.0.0.1:{tap.listener.getsockname()[1]}"
    calls = []
    with grpc.insecure_channel(address, compression=rng.choice([grpc.Compression.NoCompression, grpc.Compression.Gzip])) as channel:
        for number in range(rng.randint(1, 10)):
            method = rng.choice(["/shop.Orders/Get", "/shop.Orders/Refund", "/shop.Orders/Missing"])
            messages = [rng.choice([b"", b"fail", b"a" * rng.randint(1, 5000), rng.randbytes(rng.randint(1, 40_000))]) for _ in range(rng.randint(1, 4))]
            call = channel.stream_stream(method, identity, identity)
            got, code = [], grpc.StatusCode.OK
            try:
                for message in call(iter(messages), metadata=(("x-number", str(number)), ("k-bin", b"\x00\xff"))):
                    got.append(message)
            except grpc.RpcError as error:
                code = error.code()
            calls.append((method, messages, got, code))
    server.stop(None).wait()
    tap.join()
    for number, (method, messages, got, code) in enumerate(calls):
        service = {"method": "POST", "scheme": "http", "host": address, "path": method, "query": ""}
        wire.world.truth.append({"conn": wire.name, "protocol": "grpc", "stream": 1 + 2 * number, "request": service, "response": {"status": 200, "events": len(got)}, "incomplete": None, "grpc_status": str(code.value[0])})


# ---------------------------------------------------------------- JSON-RPC on a pipe


def stdio(world):
    rng, wire = world.rng, world.conn("stdio")
    framed, pending, number = rng.random() < 0.3, [], 0

    def say(direction, value):
        text = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode()
        wire.say(direction, b"Content-Length: %d\r\n\r\n" % len(text) + text if framed else text + rng.choice([b"\n", b"\r\n"]))

    order = []
    for _ in range(rng.randint(2, 15)):
        kind = rng.randrange(5)
        direction = rng.choice(["out", "out", "in"])
        if kind == 0:
            note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"n": number}}
            say(direction, note)
            order.append({"method": note["method"], "answered": None})
        elif kind == 1 and pending:
            batch = [pending.pop(rng.randrange(len(pending))) for _ in range(min(len(pending), 2))]
            for direction in ("out", "in"):
                mine = [(call, entry) for call, entry, asker in batch if asker != direction]
                answers = [{"jsonrpc": "2.0", "id": call["id"], "result": {"w": rng.choice(WORDS)}} for call, _ in mine]
                if answers and not framed and len(answers) > 1:
                    say(direction, answers)
                else:
                    for answer in answers:
                        say(direction, answer)
                for _, entry in mine:
                    entry["answered"] = True
        else:
            number += 1
            call = {"jsonrpc": "2.0", "id": rng.choice([number, f"id-{number}"]), "method": rng.choice(["tools/call", "ping"]), "params": {"n": number, "w": rng.choice(WORDS)}}
            entry = {"method": call["method"], "answered": False}
            order.append(entry)
            pending.append((call, entry, direction))
            say(direction, call)
    wire.close()
    for entry in order:
        request = {"method": entry["method"], "host": "", "path": "", "query": ""}
        wire.exchange("jsonrpc", request, {"status": 0} if entry["answered"] else None, None, ["response_missing"] if entry["answered"] is False else [])


KINDS = [h1, h1, h1_pipelined, h2_streams, h2_streams, websocket, websocket_in_h2, stdio, grpc_calls]


def main():
    seed, count, recording, truth = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    world = World(seed)
    for number in range(count):
        KINDS[number % len(KINDS)](world)
    for path, rows in [(recording, world.records), (truth, world.truth)]:
        with open(path, "w") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)


main()
