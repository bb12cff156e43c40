"""Sends a file over TLS from a mapping that this process never touched: its pages are not in the process's memory at the write."""

import mmap
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

url = urlsplit(os.environ["STANDIN_URL"])
with open(sys.argv[1], "rb") as file:
    body = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
raw = socket.create_connection((url.hostname, url.port))
tls = ssl.create_default_context().wrap_socket(raw, server_hostname=url.hostname)
tls.sendall(b"POST /echo?n=10&cold=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
tls.sendall(body)
answer = b""
while data := tls.recv(4096):
    answer += data
sys.exit(0 if answer.startswith(b"HTTP/1.1 200") else 1)
