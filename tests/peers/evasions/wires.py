"""Tricks on the way: no TLS library, odd system calls, other protocols. wires.py TRICK"""

import ctypes
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

from common import NAME, ask, answer, dial, fail, hidden, ports, repeat, request

PORTS = ports()
libc = ctypes.CDLL(None, use_errno=True)


def http_on_an_odd_port():
    connection = dial(PORTS["http"])
    repeat(lambda number: ask(connection.sendall, connection.recv, number))


def http_by_sendmmsg():
    """Each request in three messages of one call."""
    connection = dial(PORTS["http"])

    def send(data):
        third = len(data) // 3
        parts = [data[:third], data[third:2 * third], data[2 * third:]]
        vectors, keep = b"", []
        for part in parts:
            buffer = ctypes.create_string_buffer(part, len(part))
            vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(buffer), len(part)))
            keep += [buffer, vector]
            vectors += struct.pack("QIxxxxQQQQIxxxxIxxxx", 0, 0, ctypes.addressof(vector), 1, 0, 0, 0, 0)
        messages = ctypes.create_string_buffer(vectors)
        assert libc.sendmmsg(connection.fileno(), messages, len(parts), 0) == len(parts)
    repeat(lambda number: ask(send, connection.recv, number))


def from_file(send):
    """`send(socket, file, length)` moves a request that lies in a file."""
    connection = dial(PORTS["http"])

    def act(number):
        with tempfile.TemporaryFile() as file:
            data = request(number, "localhost")
            file.write(data)
            file.flush()
            send(connection.fileno(), file.fileno(), len(data))
        answer(connection.recv)
    repeat(act)


def http_by_sendfile():
    from_file(lambda out, file, length: os.sendfile(out, file, 0, length))


def http_by_splice():
    def send(out, file, length):
        read, write = os.pipe()
        os.splice(file, write, length, offset_src=0)
        os.splice(read, out, length)
        os.close(read)
        os.close(write)
    from_file(send)


def keystream(key, length):
    import hashlib
    return hashlib.shake_128(key).digest(length)


def opaque(data):
    """Ciphertext of a private protocol: nonce, then what looks like noise."""
    nonce = os.urandom(16)
    return nonce + bytes(a ^ b for a, b in zip(data, keystream(b"secret" + nonce, len(data))))


def exactly(connection, length):
    data = b""
    while len(data) < length:
        data += connection.recv(length - len(data)) or fail("the server left")
    return data


def noise(greeting):
    """A handshake of 32 bytes each way, then ciphertext with its length before it."""
    connection = dial(PORTS["noise"])
    connection.sendall(greeting)
    exactly(connection, 32)

    def act(number):
        data = opaque(request(number))
        connection.sendall(struct.pack(">H", len(data)) + data)
        exactly(connection, struct.unpack(">H", exactly(connection, 2))[0])
    repeat(act)


def noise_over_tcp():
    noise(os.urandom(32))


def noise_after_a_banner():
    """Begins with readable words."""
    noise(b"HELO mail.example.org, this is".ljust(32))


def noise_over_udp():
    """As a VPN does: a type, then ciphertext."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.connect(("127.0.0.1", PORTS["datagrams"]))

    def act(number):
        for part in range(4):
            connection.send(struct.pack("<IIQ", 4, 7, number * 4 + part) + opaque(request(number)))
            connection.recv(65536)
    repeat(act)


def raw_packets():
    """IP packets by hand, to a peer that listens for them."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)

    def act(number):
        for _ in range(4):
            connection.sendto(request(number), ("127.0.0.1", 0))
    repeat(act)


def names_of_data():
    """Data in the names of DNS queries."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.connect(("127.0.0.1", PORTS["dns"]))

    def act(number):
        data = opaque(request(number))[:500].hex()
        for at in range(0, len(data), 180):
            piece = data[at:at + 180]
            labels = [piece[part:part + 60] for part in range(0, len(piece), 60)] + ["t", "example", "org"]
            name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
            connection.send(struct.pack(">HHHHHH", number * 10 + 1, 0x100, 1, 0, 0, 0) + name + struct.pack(">HH", 16, 1))
            connection.recv(4096)
    repeat(act)


def quic():
    import asyncio
    import ssl
    from aioquic.asyncio import connect
    from aioquic.quic.configuration import QuicConfiguration

    async def run():
        settings = QuicConfiguration(is_client=True, alpn_protocols=["echo"], verify_mode=ssl.CERT_NONE)
        async with connect("127.0.0.1", PORTS["quic"], configuration=settings) as connection:
            hidden()
            for number in range(10):
                reader, writer = await connection.create_stream()
                writer.write(request(number))
                writer.write_eof()
                await reader.read()
                print(f"acted {number}", flush=True)
                await asyncio.sleep(1)
    asyncio.run(run())


def ssh_tunnel():
    import asyncio
    import asyncssh

    async def run():
        async with asyncssh.connect("127.0.0.1", PORTS["ssh"], username="u", password="p", known_hosts=None, config=None) as link:
            hidden()
            for number in range(10):
                reader, writer = await link.open_connection("localhost", 1)
                writer.write(request(number))
                writer.write_eof()
                await reader.read()
                print(f"acted {number}", flush=True)
                await asyncio.sleep(1)
    asyncio.run(run())


if __name__ == "__main__":
    globals()[sys.argv[1]]()
