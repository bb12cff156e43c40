"""Writes as fast as it can, until standard input closes; then says how many bytes that were.

flood.py KIND PORT: `large`: junk in writes of 1 MiB over TLS; `small`: junk in writes of 64 bytes over TLS; `http`: requests over TLS,
`plain`: over a bare socket, both pipelined and answered. PORT is that of `drain.py`.
"""

import os
import random
import socket
import ssl
import sys
import threading

kind, port = sys.argv[1], int(sys.argv[2])
raw = socket.create_connection(("localhost", port))
secure = kind != "plain"
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
connection = context.wrap_socket(raw) if secure else raw
if kind in ("large", "small"):
    piece = random.Random(7).randbytes(1 << 20 if kind == "large" else 64)
else:
    piece = b"".join(b"GET /junk/%d HTTP/1.1\r\nHost: flood.example\r\n\r\n" % number for number in range(1000))
total, ended = 0, threading.Event()


def answers():
    # TLS objects of Python are not for two threads at once; answers are drained by the writer there.
    while not ended.is_set() and raw.recv(1 << 20):
        pass


if kind == "plain":
    threading.Thread(target=answers, daemon=True).start()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
print("ready", flush=True)
if kind == "http":
    connection.setblocking(False)
while not ended.is_set():
    if kind != "http":
        connection.sendall(piece)
        total += len(piece)
        continue
    left = memoryview(piece)
    while left and not ended.is_set():
        try:
            taken = connection.send(left)
            total, left = total + taken, left[taken:]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        try:
            connection.recv(1 << 20)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
print(total, flush=True)
os._exit(0)
