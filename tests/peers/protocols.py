"""Servers of one protocol each, with a ledger of what they received and sent.

    protocols.py h2|websocket|grpc DIR     DIR holds ca.pem, server.pem and server.key; it gets PROTOCOL.jsonl and, once ready, PROTOCOL_port

h2         HTTP/2 over TLS: `/echo?n=N` gives N bytes, with `gzip=1` coded, with `trailers=1` followed by trailers, `status=S`
websocket  RFC 6455 over TLS with permessage-deflate: each message comes back twice, the second time in fragments
grpc       plaintext: Unary, Stream and Refused of the service `test.Desk`, on bytes
"""

import gzip
import os
import random
import socket
import ssl
import sys
import threading
from concurrent import futures
from urllib.parse import parse_qs, urlsplit

from ledger import Ledger, client_of, content

NOISE = random.Random(2026).randbytes(4 << 20)


def context(folder, protocol):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    made.set_alpn_protocols([protocol])
    # The WebSocket library reads in one thread and writes in another; while the first handles a session ticket, the other can
    # find the connection in a handshake and wait for ever (3 of 400 clients, unwatched, with CPython 3.11 and OpenSSL 3.0).
    made.num_tickets = 0
    return made


def end_of(connection, port):
    """What the ledger says of a client."""
    client_port = connection.getpeername()[1]
    return {"peer": f"127.0.0.1:{port}", "client_port": client_port, "client": client_of(client_port, port)}


class Http2:
    """One connection, by the h2 library; flow control is why what is to be sent waits."""

    def __init__(self, connection, ledger, port):
        import h2.config
        import h2.connection
        import h2.events

        self.events = h2.events
        self.connection, self.ledger = connection, ledger
        self.client = end_of(connection, port)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.asked, self.waiting = {}, {}

    def serve(self):
        self.h2.initiate_connection()
        self.flush()
        while data := self.connection.recv(65536):
            for event in self.h2.receive_data(data):
                self.handle(event)
            for stream in list(self.waiting):
                self.send(stream)
            self.flush()

    def flush(self):
        self.connection.sendall(self.h2.data_to_send())

    def handle(self, event):
        if isinstance(event, self.events.RequestReceived):
            self.asked[event.stream_id] = (dict(event.headers), [])
        elif isinstance(event, self.events.DataReceived):
            self.asked[event.stream_id][1].append(event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, self.events.StreamEnded):
            fields, pieces = self.asked.pop(event.stream_id)
            self.answer(event.stream_id, fields, b"".join(pieces))

    def answer(self, stream, fields, body):
        url = urlsplit(fields[":path"])
        ask = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, data = int(ask.get("status", 200)), NOISE[:int(ask.get("n", 0))]
        sent = gzip.compress(data, 1) if "gzip" in ask else data
        if fields.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        bare = fields[":method"] == "HEAD" or status == 204
        self.ledger.write({
            "method": fields[":method"], "path": url.path, "query": url.query, "request": content(body), **self.client,
            "response": {"status": status, **content(b"" if bare else data)},
        })
        headers = [(":status", str(status)), ("content-type", "application/octet-stream"), ("x-long", "v" * 300)]
        headers += [("content-encoding", "gzip")] if "gzip" in ask else []
        trailers = [("x-sum", str(len(data)))] if "trailers" in ask else None
        self.h2.send_headers(stream, headers, end_stream=bare or not sent and not trailers)
        if not bare and (sent or trailers):
            self.waiting[stream] = (sent, trailers)

    def send(self, stream):
        data, trailers = self.waiting.pop(stream)
        while data and (room := min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))):
            self.h2.send_data(stream, data[:room], end_stream=room == len(data) and not trailers)
            data = data[room:]
        if data:
            self.waiting[stream] = (data, trailers)
        elif trailers:
            self.h2.send_headers(stream, trailers, end_stream=True)


def h2(folder, ledger, ready):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    tls = context(folder, "h2")
    ready(port)

    def one(plain):
        with plain, tls.wrap_socket(plain, server_side=True) as connection:
            Http2(connection, ledger, port).serve()

    while True:
        threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()


def websocket(folder, ledger, ready):
    from websockets.sync.server import serve

    def talk(connection):
        # The library's own view of the socket is a stream of TLS; the file below it knows the peer.
        client = end_of(connection.socket, port)
        url = urlsplit(connection.request.path)
        ledger.write({"method": "GET", "path": url.path, "query": url.query, "request": content(b""), **client,
                      "response": {"status": 101, **content(b"")}})
        say = lambda dir, data: ledger.write({"dir": dir, "opcode": "text" if isinstance(data, str) else "binary", **client,
                                              "body": content(data.encode() if isinstance(data, str) else data)})
        for message in connection:
            say("out", message)
            say("in", message)
            connection.send(message)
            say("in", message)
            connection.send([message[at:at + 1000] for at in range(0, max(len(message), 1), 1000)])

    with serve(talk, "127.0.0.1", 0, ssl=context(folder, "http/1.1")) as server:
        port = server.socket.getsockname()[1]
        ready(port)
        server.serve_forever()


def grpc(folder, ledger, ready):
    import grpc as library

    def noted(name, status, asked, answers, call):
        frames = lambda messages: b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in messages)
        port_of_client = int(call.peer().rsplit(":", 1)[1])
        ledger.write({"method": "POST", "path": f"/test.Desk/{name}", "query": "", "request": content(frames([asked])),
                      "peer": f"127.0.0.1:{port}", "client_port": port_of_client, "client": client_of(port_of_client, port),
                      "response": {"status": 200, **content(frames(answers))}, "events": len(answers), "grpc_status": status})

    def unary(asked, call):
        noted("Unary", "0", asked, [asked[::-1]], call)
        return asked[::-1]

    def stream(asked, call):
        answers = [asked[:at] for at in range(0, len(asked), max(1, len(asked) // 5))]
        noted("Stream", "0", asked, answers, call)
        yield from answers

    def refused(asked, call):
        noted("Refused", "7", asked, [], call)
        call.abort(library.StatusCode.PERMISSION_DENIED, "no: 100 % ünmöglich")

    server = library.server(futures.ThreadPoolExecutor(4), compression=library.Compression.NoCompression)
    handlers = {
        "Unary": library.unary_unary_rpc_method_handler(unary),
        "Stream": library.unary_stream_rpc_method_handler(stream),
        "Refused": library.unary_unary_rpc_method_handler(refused),
    }
    server.add_generic_rpc_handlers((library.method_handlers_generic_handler("test.Desk", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ready(port)
    server.wait_for_termination()


def main():
    protocol, folder = sys.argv[1:]
    path = lambda name: os.path.join(folder, name)

    def ready(port):
        with open(path(f"{protocol}_port.new"), "w") as file:
            file.write(str(port))
        os.rename(path(f"{protocol}_port.new"), path(f"{protocol}_port"))

    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    {"h2": h2, "websocket": websocket, "grpc": grpc}[protocol](folder, Ledger(path(f"{protocol}.jsonl")), ready)


if __name__ == "__main__":
    main()
