"""Takes whatever `clients/flood.py` sends and answers what looks like requests. drain.py FOLDER: its port is in FOLDER/drain_port; it
ends when its standard input closes."""

import os
import pathlib
import socket
import ssl
import subprocess
import sys
import threading

folder = pathlib.Path(sys.argv[1])
pair = ["-keyout", folder / "drain.key", "-out", folder / "drain.pem"]
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                "/CN=localhost", *map(str, pair)], check=True, capture_output=True)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder / "drain.pem", folder / "drain.key")


def serve(connection):
    if connection.recv(1, socket.MSG_PEEK) == b"\x16":
        connection = context.wrap_socket(connection, server_side=True)
    while piece := connection.recv(1 << 20):
        if asked := piece.count(b"\r\n\r\n"):
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n" * asked)


def accept(listener):
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()


listener = socket.create_server(("localhost", 0))
threading.Thread(target=accept, args=[listener], daemon=True).start()
(folder / "drain_port.new").write_text(str(listener.getsockname()[1]))
os.rename(folder / "drain_port.new", folder / "drain_port")
sys.stdin.read()
