"""What the evasions share: where the stand-ins are, one request, and how a trick says that it hides from now on."""

import json
import os
import socket
import sys
import time
from urllib.parse import urlsplit

NAME = sys.argv[1]
URL = urlsplit(os.environ["STANDIN_URL"])
AUTHORITY = os.environ["SSL_CERT_FILE"]
TIMES = 10


def ports():
    """Ports of `servers.py`, by what is spoken there."""
    return json.loads(os.environ["EVASION_PORTS"])


def dial(port=None):
    return socket.create_connection(("127.0.0.1", port or URL.port))


def hidden():
    """From here on, only what is hidden happens."""
    print(f"hidden {os.getpid()}", flush=True)


def request(number, host=f"localhost:{URL.port}", close=False):
    body = f"{NAME} {number} ".encode() * 40
    end = b"Connection: close\r\n" if close else b""
    head = f"POST /echo?trick={NAME}&n=1500&number={number} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n".encode()
    return head + end + b"\r\n" + body


def answer(receive):
    """Reads one whole answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(65536) or fail("the server left")
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    while len(body) < int(fields["Content-Length"]):
        body += receive(65536) or fail("the server left")
    return body


def ask(send, receive, number):
    send(request(number))
    answer(receive)


def repeat(act, times=TIMES, pause=1.0):
    """Hides: `act(number)` some times, about once a second."""
    hidden()
    for number in range(times):
        act(number)
        print(f"acted {number}", flush=True)
        time.sleep(pause)


def fail(why):
    raise SystemExit(why)
