"""What passes between two programs, as a recording: a TCP proxy at the client's end (`Wire`), and a pipe at the server's.

    wire.py RECORDING PROGRAM [WORD...]     runs PROGRAM and relays its standard input and output
"""

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time


class Recording:
    def __init__(self, path):
        self._file, self._lock, self._last = open(path, "w"), threading.Lock(), 0

    def close(self):
        with self._lock:
            self._file.close()

    def put(self, **record):
        with self._lock:
            if not self._file.closed:
                # Records are in the order of their times.
                self._last = max(time.time_ns(), self._last + 1)
                self._file.write(json.dumps({"ts": self._last, "pid": 100, **record}) + "\n")
                self._file.flush()


class Wire:
    """A proxy before the server at `upstream()`, whose client is the process `pid`."""

    def __init__(self, recording, upstream, pid=100):
        self._recording, self._upstream, self._pid, self._conns = recording, upstream, pid, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._conns += 1
            name, server = f"c{self._pid}-{self._conns}", socket.create_connection(("127.0.0.1", self._upstream()))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, target, direction in ((client, server, "out"), (server, client, "in")):
                threading.Thread(target=self._copy, args=(name, source, target, direction), daemon=True).start()

    def _copy(self, name, source, target, direction):
        try:
            while data := source.recv(65536):
                self._put(kind="chunk", conn=name, dir=direction, data=base64.b64encode(data).decode(), source="openssl", role="client")
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # The other end is gone: what passed so far is written.
            pass
        if direction == "in":
            self._put(kind="close", conn=name)

    def _put(self, **record):
        self._recording.put(pid=self._pid, **record)


def relay(path, command):
    recording = Recording(path)
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def copy(source, target, direction):
        while data := os.read(source, 65536):
            recording.put(kind="chunk", conn="pipe", dir=direction, data=base64.b64encode(data).decode(), source="stdio", role="server")
            os.write(target, data)
        os.close(target)

    asked = threading.Thread(target=copy, args=(0, child.stdin.fileno(), "in"), daemon=True)
    asked.start()
    copy(child.stdout.fileno(), 1, "out")
    child.wait()
    recording.close()
    # Standard input may still be open.
    os._exit(0)


if __name__ == "__main__":
    relay(sys.argv[1], sys.argv[2:])
