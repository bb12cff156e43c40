"""An agent by its first words: one call to a model, then it runs the program that it is given. agent.py COMMAND…"""

import os
import socket
import ssl
import subprocess
import sys
from urllib.parse import urlsplit

url = urlsplit(os.environ["STANDIN_URL"])
raw = socket.create_connection((url.hostname, url.port))
connection = ssl.create_default_context().wrap_socket(raw, server_hostname=url.hostname)
body = b'{"model":"m","messages":[{"role":"user","content":"Do it."}]}'
head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
connection.sendall(head % len(body) + body)
connection.recv(65536)
program = subprocess.Popen(sys.argv[1:])
print(f"process {program.pid}", flush=True)
sys.exit(program.wait())
