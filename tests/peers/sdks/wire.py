"""A TCP proxy that writes what passes as a recording: `socket`, `chunk` and `close` records of the client's end."""

import base64
import json
import socket
import threading
import time


class Wire:
    def __init__(self, path, upstream):
        self._file, self._lock, self._upstream = open(path, "w"), threading.Lock(), upstream
        self._conns, self._last = 0, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()
        with self._lock:
            self._file.close()

    def put(self, **record):
        with self._lock:
            if not self._file.closed:
                # Records are in the order of their times.
                self._last = max(time.time_ns(), self._last + 1)
                self._file.write(json.dumps({"ts": self._last, "pid": 100, **record}) + "\n")
                self._file.flush()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._conns += 1
            name, server = f"c{self._conns}", socket.create_connection(("127.0.0.1", self._upstream()))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target, direction in ((client, server, "out"), (server, client, "in")):
                threading.Thread(target=self._copy, args=(name, source, target, direction), daemon=True).start()

    def _copy(self, name, source, target, direction):
        try:
            while data := source.recv(65536):
                self.put(kind="chunk", conn=name, dir=direction, data=base64.b64encode(data).decode(), source="openssl", role="client")
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # The other end is gone: what passed so far is written.
            pass
        if direction == "in":
            self.put(kind="close", conn=name)
