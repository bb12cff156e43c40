"""Uses the system's TLS library, then writes the library's own code over whatever was put into it, and goes on. Writes `hidden` when it
has done so."""

import os
import ssl
import socket
import sys
import time
from urllib.parse import urlsplit

url = urlsplit(os.environ["STANDIN_URL"])
raw = socket.create_connection((url.hostname, url.port))
connection = ssl.create_default_context().wrap_socket(raw, server_hostname=url.hostname)


def ask():
    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"x" * 300 + b"\r\n\r\n")
    connection.recv(65536)


def restore():
    """Every executable page of libssl, from its file."""
    for line in open("/proc/self/maps"):
        fields = line.split()
        if len(fields) < 6 or "x" not in fields[1] or "libssl" not in fields[5]:
            continue
        start, end = (int(part, 16) for part in fields[0].split("-"))
        with open(fields[5], "rb") as library, open("/proc/self/mem", "r+b", buffering=0) as memory:
            library.seek(int(fields[2], 16))
            code = library.read(end - start)
            memory.seek(start)
            now = memory.read(len(code))
            # Byte for byte: what the kernel has not touched stays shared.
            for at in [at for at in range(len(code)) if code[at] != now[at]]:
                memory.seek(start + at)
                memory.write(code[at:at + 1])


ask()
if "honest" not in sys.argv:
    restore()
print("hidden", flush=True)
while True:
    ask()
    time.sleep(1)
