"""TLS written in Python alone (tlslite-ng), and what can be done beside it. pure.py TRICK"""

import os
import ssl
import sys
import threading
import time

from tlslite import HandshakeSettings, TLSConnection

from common import NAME, URL, answer, ask, dial, hidden, ports, repeat, request


def connect(raw=None):
    connection = TLSConnection(raw or dial())
    connection.handshakeClientCert(settings=HandshakeSettings(), serverName="localhost")
    return connection


def act_on(connection):
    return lambda number: ask(connection.sendall, lambda size: bytes(connection.recv(size)), number)


def python_tls():
    repeat(act_on(connect()))


def python_tls_once():
    """One call, and the end."""
    hidden()
    act_on(connect())(0)


def python_tls_on_a_claimed_socket():
    """OpenSSL is told of the socket, and never used on it."""
    import ctypes
    import native
    library, raw = native.load(), dial()
    context = library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method()))
    tls = ctypes.c_void_p(library.SSL_new(ctypes.c_void_p(context)))
    library.SSL_set_fd(tls, raw.fileno())
    repeat(act_on(connect(raw)))


def decoy():
    """Harmless plaintext through OpenSSL into memory, as much as goes out unseen."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    fake = context.wrap_bio(theirs, ours, server_hostname="localhost")
    raw = dial()
    while True:
        try:
            fake.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.sendall(ours.read())
            theirs.write(raw.recv(65536))
    raw.sendall(ours.read())
    act = act_on(connect())

    def both(number):
        fake.write(b"GET /harmless HTTP/1.1\r\nHost: localhost\r\nX-Filler: " + b"x" * 3000 + b"\r\n\r\n")
        ours.read()
        act(number)
    repeat(both)


def beside_honest_calls():
    """Honest calls of the same process all the while, on a connection of their own."""
    honest = ssl.create_default_context().wrap_socket(dial(), server_hostname="localhost")

    def chat():
        for number in range(60):
            honest.sendall(f"GET /echo?honest={NAME}&n=100 HTTP/1.1\r\nHost: localhost\r\nX-Filler: {'x' * 2000}\r\n\r\n".encode())
            answer(honest.recv)
            time.sleep(0.2)
    threading.Thread(target=chat, daemon=True).start()
    repeat(act_on(connect()))


def flood():
    """Fills the way to the daemon with harmless words, then acts."""
    plain = ports()["http"]

    def pour():
        connection = dial(plain)
        data = request("flood", "localhost").replace(b"1500", b"1") * 400
        connection.sendall(b"POST /pour HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999\r\n\r\n")
        end = time.monotonic() + 12
        while time.monotonic() < end:
            connection.sendall(data)
    for _ in range(2):
        threading.Thread(target=pour, daemon=True).start()
    time.sleep(0.5)
    repeat(act_on(connect()))


def short_processes():
    """Each call in a process of its own that ends at once."""
    hidden()
    for number in range(10):
        child = os.fork()
        if child == 0:
            act_on(connect())(number)
            os._exit(0)
        print(f"process {child}", flush=True)
        os.waitpid(child, 0)
        time.sleep(0.5)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
