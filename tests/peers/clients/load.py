"""A load client that is told what to do, and counts what it did at the door of the TLS library.

Each line on standard input is `N PLAN` and makes N requests over one kept connection; the answer is a line of JSON with the totals
since the start. Plans: `mixed` (bodies of 0 B to 4 MiB in both directions), `small` (one write and one read a message).
`new` as PLAN opens a new connection for each request.
"""

import json
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

NOISE = os.urandom(4 << 20)
totals = {"requests": 0, "errors": 0, "writes": 0, "reads": 0, "out": 0, "in": 0}


def size(number):
    """Most are small; one in 20 is up to 256 KiB, one in 250 has 4 MiB."""
    if number % 250 == 249:
        return 4 << 20
    if number % 20 == 19:
        return number * 7919 % (256 << 10)
    return 0 if number % 20 == 0 else number * 104729 % 9000


class Connection:
    def __init__(self):
        url = urlsplit(os.environ["STANDIN_URL"])
        raw = socket.create_connection((url.hostname, url.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tls = ssl.create_default_context().wrap_socket(raw, server_hostname=url.hostname)
        self.left = b""

    def send(self, data):
        while data:
            sent = self.tls.send(data)
            totals["writes"] += 1
            totals["out"] += sent
            data = data[sent:]

    def receive(self):
        data = self.tls.recv(16384)
        if not data:
            raise EOFError("the server closed")
        totals["reads"] += 1
        totals["in"] += len(data)
        return data

    def exchange(self, path, body):
        head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body))
        # One write for a small message; a large body goes by itself, as HTTP libraries send it.
        for part in [head + body] if len(body) < 16384 else [head, body]:
            self.send(part)
        data = self.left
        while b"\r\n\r\n" not in data:
            data += self.receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        wanted = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        got = len(rest)
        while got < wanted:
            got += len(self.receive())
        self.left = rest[wanted:] if len(rest) > wanted else b""
        totals["requests"] += 1


connection = None
for line in sys.stdin:
    count, plan = line.split()
    for number in range(int(count)):
        try:
            if connection is None or plan == "new":
                connection = Connection()
            if plan == "mixed":
                half = size(number)
                up, down = (half, number % 3000) if number % 2 else (number % 3000, half)
            else:
                up, down = 100 + number % 50, 150
            connection.exchange(f"/echo?n={down}&i={number}", NOISE[:up])
        except (OSError, EOFError) as fault:
            print(f"load: {fault!r}", file=sys.stderr, flush=True)
            totals["errors"] += 1
            connection = None
    print(json.dumps(totals), flush=True)
