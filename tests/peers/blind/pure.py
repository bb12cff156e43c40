"""TLS written in Python alone (tlslite-ng) over a socket: no library that a probe could stand in. Asks once a second until it is ended."""

import os
import socket
import time
from urllib.parse import urlsplit

from tlslite import HandshakeSettings, TLSConnection

url = urlsplit(os.environ["STANDIN_URL"])
settings = HandshakeSettings()
connection = TLSConnection(socket.create_connection((url.hostname, url.port)))
connection.handshakeClientCert(settings=settings, serverName=url.hostname)
body = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (b"hello " * 40)
while True:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(body) + body)
    if not connection.recv(65536):
        break
    time.sleep(1)
