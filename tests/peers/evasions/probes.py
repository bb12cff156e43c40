"""Tricks on the probes and on the library that they stand in. probes.py TRICK"""

import ctypes
import os
import ssl
import subprocess
import sys
import tempfile
import time

import native
from common import AUTHORITY, NAME, TIMES, URL, ask, dial, hidden, repeat

FOLDER = tempfile.mkdtemp(prefix="evasion-")


def honest():
    connection = native.Connection(native.load())
    connection.ask("honest")
    return connection


def probe_restored_by_mem():
    connection = honest()
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        for at, byte in list(native.changed()):
            memory.seek(at)
            memory.write(bytes([byte]))
    repeat(connection.ask)


def probe_restored_by_mprotect():
    connection = honest()
    native.store(list(native.changed()))
    repeat(connection.ask)


def probe_lifted_for_each_call():
    connection = honest()

    def act(number):
        before = native.store(list(native.changed()))
        connection.ask(number)
        native.store(before)
    repeat(act)


def library_copy():
    connection = native.Connection(native.load(native.copy_to(f"{FOLDER}/libquiet.so.1")))
    repeat(connection.ask)


def library_copy_late():
    time.sleep(24)
    library_copy()


def library_copy_nameless():
    names = ("SSL_read", "SSL_write", "SSL_set_fd", "SSL_peek")
    native.load()
    real = {name: native.address_of(getattr(native.load(), name)) for name in names}
    base = min(start for start, *_ in native.regions("libssl.so"))
    copy = native.load(native.copy_to(f"{FOLDER}/libquiet.so.1", names))
    there = min(start for start, *_ in native.regions("libquiet"))
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    function = lambda name: kind(real[name] - base + there)

    class Nameless:
        def __getattr__(self, name):
            return getattr(copy, name)

        def SSL_set_fd(self, tls, fd):
            return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(real["SSL_set_fd"] - base + there)(tls, fd)

        def SSL_write(self, tls, data, size):
            return function("SSL_write")(tls, ctypes.cast(data, ctypes.c_void_p), size)

        def SSL_read(self, tls, data, size):
            return function("SSL_read")(tls, ctypes.cast(data, ctypes.c_void_p), size)

    repeat(native.Connection(Nameless()).ask)


def code_copy_in_anonymous_memory():
    library = native.load()
    connection = native.Connection(library)
    connection.write, connection.read = native.twin(library.SSL_write), native.twin(library.SSL_read)
    repeat(connection.ask)


def code_copy_after_honest_calls():
    library = native.load()
    connection = native.Connection(library)
    for number in range(3):
        connection.ask(f"honest{number}")
    connection.write, connection.read = native.twin(library.SSL_write), native.twin(library.SSL_read)
    repeat(connection.ask)


def symlink_swapped():
    """The name leads to one library when it is opened, to another a moment later."""
    real, other, link = native.copy_to(f"{FOLDER}/real.so"), f"{FOLDER}/other.so", f"{FOLDER}/libssl.so.9"
    open(other, "wb").write(open("/usr/lib/x86_64-linux-gnu/libz.so.1", "rb").read())
    os.symlink(real, link)
    library = native.load(link)
    os.unlink(link)
    os.symlink(other, link)
    os.unlink(real)
    repeat(native.Connection(library).ask)


def mount_namespace():
    """The same library by another file system that nobody else sees."""
    script = "mount -t tmpfs none /mnt && cp {0} /mnt/libssl.so.3 && exec env LD_LIBRARY_PATH=/mnt {1} {2} honest_in_place {3}"
    words = script.format(native.PLACE, sys.executable, __file__, NAME)
    os.execvp("unshare", ["unshare", "-m", "sh", "-c", words])


def honest_in_place():
    import common
    common.NAME = sys.argv[2]
    context = ssl.create_default_context()
    connection = context.wrap_socket(dial(), server_hostname="localhost")
    repeat(lambda number: ask(connection.sendall, connection.recv, number))


def preloaded_shim():
    """A library before the library, with the same names."""
    words = [sys.executable, __file__, "honest_in_place", NAME]
    os.execve(sys.executable, words, {**os.environ, "LD_PRELOAD": os.environ["EVASION_SHIM"]})


def own_records():
    """TLS 1.3 records made and read by this program, on the socket of a connection that OpenSSL opened: keys by its key log."""
    from cryptography.hazmat.primitives import hashes, hmac
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    log = f"{FOLDER}/keys"
    context = ssl.create_default_context(cafile=AUTHORITY)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.keylog_filename = log
    connection = context.wrap_socket(dial(), server_hostname="localhost")
    name, _, _ = connection.cipher()
    size, digest = (32, hashes.SHA384()) if "384" in name else (16, hashes.SHA256())
    assert "AES" in name, name
    secrets = {line.split()[0]: bytes.fromhex(line.split()[2]) for line in open(log) if not line.startswith("#")}

    def expand(secret, label, length):
        info = length.to_bytes(2, "big") + bytes([len(label) + 6]) + b"tls13 " + label + b"\0"
        mac = hmac.HMAC(secret, digest)
        mac.update(info + b"\1")
        return mac.finalize()[:length]

    def cipher(which):
        secret = secrets[which]
        key, start, count = AESGCM(expand(secret, b"key", size)), expand(secret, b"iv", 12), [0]

        def nonce():
            count[0] += 1
            return (int.from_bytes(start, "big") ^ (count[0] - 1)).to_bytes(12, "big")
        return key, nonce

    (out, next_out), (inward, next_in) = cipher("CLIENT_TRAFFIC_SECRET_0"), cipher("SERVER_TRAFFIC_SECRET_0")
    raw = connection.detach()
    plain = []

    def exactly(length):
        data = b""
        while len(data) < length:
            data += os.read(raw, length - len(data))
        return data

    def send(data):
        head = b"\x17\3\3" + (len(data) + 17).to_bytes(2, "big")
        os.write(raw, head + out.encrypt(next_out(), data + b"\x17", head))

    def receive(_):
        while True:
            head = exactly(5)
            data = inward.decrypt(next_in(), exactly(int.from_bytes(head[3:], "big")), head).rstrip(b"\0")
            if data[-1] == 23:
                return data[:-1]
    repeat(lambda number: ask(send, receive, number))


def fake_symbols():
    """A library whose `SSL_write` only looks like one is called with harmless words, while Python's own TLS carries the rest."""
    fake = ctypes.CDLL(os.environ["EVASION_FAKE"])
    from pure import connect
    connection = connect()

    def act(number):
        decoy = b"GET /harmless HTTP/1.1\r\nHost: localhost\r\n\r\n"
        fake.SSL_write(ctypes.c_void_p(0x5000), decoy, len(decoy))
        ask(connection.sendall, lambda size: bytes(connection.recv(size)), number)
    repeat(act)


def forks():
    """A storm of short processes, each with one call."""
    hidden()
    context = ssl.create_default_context()
    for number in range(100):
        child = os.fork()
        if child == 0:
            try:
                connection = context.wrap_socket(dial(), server_hostname="localhost")
                ask(connection.sendall, connection.recv, number)
            finally:
                os._exit(0)
        if number % 4 == 3:
            for _ in range(4):
                os.wait()


def forged_name():
    """Calls itself something else: `comm`, and the arguments that `/proc` shows."""
    ctypes.CDLL(None).prctl(15, b"kworker/0:1", 0, 0, 0)
    line = open("/proc/self/cmdline", "rb").read()
    for start, end, rights, _, path in native.regions("[stack]"):
        at = ctypes.string_at(start, end - start).rfind(line)
        ctypes.memmove(start + at, b"[kworker/0:1]".ljust(len(line), b"\0"), len(line))
    connection = ssl.create_default_context().wrap_socket(dial(), server_hostname="localhost")
    repeat(lambda number: ask(connection.sendall, connection.recv, number))


def carried(path):
    """Runs the static client of its own; it makes its requests and ends."""
    hidden()
    return [path, str(URL.port), AUTHORITY]


CLIENT = os.environ["EVASION_CLIENT"]


def from_memory():
    """A program that is in no file."""
    descriptor = os.memfd_create("nothing", 0)
    os.write(descriptor, open(CLIENT, "rb").read())
    words = carried("nothing")
    os.execve(descriptor, words, os.environ)


def deleted_program():
    copy = f"{FOLDER}/client"
    with open(CLIENT, "rb") as source, open(copy, "wb") as file:
        file.write(source.read())
    os.chmod(copy, 0o755)
    descriptor = os.open(copy, os.O_PATH | os.O_CLOEXEC)
    os.unlink(copy)
    os.execve(descriptor, carried("client"), os.environ)


def interpreter_chain():
    """A script whose interpreter is a script whose interpreter is a program under a new name."""
    from shutil import copyfile
    copyfile(CLIENT, f"{FOLDER}/sh")
    open(f"{FOLDER}/one", "w").write(f"#!{FOLDER}/two\n")
    open(f"{FOLDER}/two", "w").write(f"#!/bin/sh\nexec {FOLDER}/sh {URL.port} {AUTHORITY}\n")
    for name in ("sh", "one", "two"):
        os.chmod(f"{FOLDER}/{name}", 0o755)
    carried("")
    os.execv(f"{FOLDER}/one", ["one"])


def maps_edited():
    """Another process of root takes this one out of the daemon's maps."""
    connection = honest()
    editor = os.path.join(os.path.dirname(__file__), "mapedit.py")
    subprocess.run([sys.executable, editor, str(os.getpid())], check=True)
    repeat(connection.ask)


globals()[sys.argv[1]]()
