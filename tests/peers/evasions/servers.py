"""The other ends of the evasions: plain HTTP with a ledger, and servers that answer what they cannot read. servers.py DIR"""

import asyncio
import json
import os
import socket
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from ledger import Ledger, client_of, content  # noqa: E402

FOLDER = sys.argv[1]


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        url = urlsplit(self.path)
        length = int(self.headers["Content-Length"])
        if url.path == "/pour":
            while length and (data := self.rfile.read(min(length, 1 << 20))):
                length -= len(data)
            return
        body, client = self.rfile.read(length), client_of(self.client_address[1], self.server.server_port)
        answer = b"x" * 1500
        self.server.ledger.write({
            "method": "POST", "path": url.path, "query": url.query, "request": content(body),
            "peer": f"127.0.0.1:{self.server.server_port}", "client_port": self.client_address[1], "client": client,
            "response": {"status": 200, **content(answer)},
        })
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def noise(listener):
    """Answers 32 bytes with 32, then each framed message with one of 1500."""
    def serve(stream):
        def exactly(length):
            data = b""
            while len(data) < length:
                more = stream.recv(length - len(data))
                if not more:
                    raise ConnectionError
                data += more
            return data
        try:
            exactly(32)
            stream.sendall(os.urandom(32))
            while True:
                exactly(struct.unpack(">H", exactly(2))[0])
                stream.sendall(struct.pack(">H", 1500) + os.urandom(1500))
        except OSError:
            stream.close()
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def datagrams(endpoint):
    while True:
        data, address = endpoint.recvfrom(65536)
        endpoint.sendto(data[:16] + os.urandom(1000), address)


def dns(endpoint):
    """Every name exists, and its text says nothing."""
    while True:
        data, address = endpoint.recvfrom(65536)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 1, 101) + b"\x64" + os.urandom(100)
        endpoint.sendto(data[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + data[12:] + record, address)


def udp():
    endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind(("127.0.0.1", 0))
    return endpoint


async def asynchronous(found):
    from aioquic.asyncio import serve
    from aioquic.quic.configuration import QuicConfiguration
    import asyncssh

    async def answer(reader, writer):
        await reader.read()
        writer.write(b"x" * 1500)
        writer.write_eof()

    settings = QuicConfiguration(is_client=False, alpn_protocols=["echo"])
    settings.load_cert_chain(os.path.join(FOLDER, "server.crt"), os.path.join(FOLDER, "server.key"))
    endpoint = await serve("127.0.0.1", 0, configuration=settings,
                           stream_handler=lambda reader, writer: asyncio.ensure_future(answer(reader, writer)))
    found["quic"] = endpoint._transport.get_extra_info("sockname")[1]

    class Door(asyncssh.SSHServer):
        def begin_auth(self, username):
            return False

        def connection_requested(self, host, port, *_):
            return answer
    shell = await asyncssh.create_server(Door, "127.0.0.1", 0, server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")])
    found["ssh"] = shell.sockets[0].getsockname()[1]
    tell(found)
    await asyncio.Event().wait()


def tell(found):
    path = os.path.join(FOLDER, "evasion_ports")
    with open(path + ".new", "w") as file:
        json.dump(found, file)
    os.rename(path + ".new", path)


def main():
    found = {}
    http = HttpServer(("127.0.0.1", 0), Http)
    http.ledger = Ledger(os.path.join(FOLDER, "plain.jsonl"))
    found["http"] = http.server_port
    listener = socket.create_server(("127.0.0.1", 0))
    found["noise"] = listener.getsockname()[1]
    far, names = udp(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("127.0.0.1", 0))
    found["datagrams"], found["dns"] = far.getsockname()[1], names.getsockname()[1]
    for work in ((http.serve_forever,), (noise, listener), (datagrams, far), (dns, names)):
        threading.Thread(target=work[0], args=work[1:], daemon=True).start()
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    asyncio.run(asynchronous(found))


main()
