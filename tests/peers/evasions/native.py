"""libssl by its C functions, its code in memory, and copies of it."""

import ctypes
import re
import shutil

from common import AUTHORITY, answer, dial, request

PLACE = "/usr/lib/x86_64-linux-gnu/libssl.so.3"
READ, WRITE, EXECUTE = 1, 2, 4
PRIVATE, ANONYMOUS = 2, 0x20

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def load(path=PLACE):
    library = ctypes.CDLL(path)
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


class Connection:
    """A TLS connection; `write` and `read` are the functions that carry its bytes, and may be replaced."""

    def __init__(self, library, port=None):
        self.socket = dial(port)
        context = library.SSL_CTX_new(ctypes.c_void_p(library.TLS_client_method()))
        library.SSL_CTX_load_verify_locations(ctypes.c_void_p(context), AUTHORITY.encode(), None)
        self.tls = ctypes.c_void_p(library.SSL_new(ctypes.c_void_p(context)))
        library.SSL_set_fd(self.tls, self.socket.fileno())
        assert library.SSL_connect(self.tls) == 1
        self.write, self.read = library.SSL_write, library.SSL_read

    def ask(self, number):
        data = request(number)
        assert self.write(self.tls, data, len(data)) == len(data)
        answer(self._receive)

    def _receive(self, size):
        buffer = ctypes.create_string_buffer(size)
        done = self.read(self.tls, buffer, size)
        return buffer.raw[:max(0, done)]


def regions(part):
    """Start, end, rights, offset and path of what is mapped of files whose path holds `part`."""
    for line in open("/proc/self/maps"):
        fields = line.split()
        if len(fields) > 5 and part in fields[5]:
            start, end = (int(number, 16) for number in fields[0].split("-"))
            yield start, end, fields[1], int(fields[2], 16), fields[5]


def changed(part="libssl.so"):
    """Address, and the file's byte, of every byte of code that is not as in its file."""
    for start, end, rights, offset, path in regions(part):
        if "x" not in rights:
            continue
        with open(path, "rb") as file:
            file.seek(offset)
            code = file.read(end - start)
        now = ctypes.string_at(start, len(code))
        yield from ((start + at, code[at]) for at in range(len(code)) if code[at] != now[at])


def store(bytes_by_address):
    """Writes code by making its pages writable for a moment; gives what stood there."""
    before = []
    for at, byte in bytes_by_address:
        page = at & ~4095
        assert libc.mprotect(page, 8192, READ | WRITE | EXECUTE) == 0
        before.append((at, ctypes.string_at(at, 1)[0]))
        ctypes.memset(at, byte, 1)
        libc.mprotect(page, 8192, READ | EXECUTE)
    return before


def copy_to(path, rename=()):
    """A copy of the library, with some of its names taken away."""
    shutil.copyfile(PLACE, path)
    if rename:
        data = bytearray(open(path, "rb").read())
        for name in rename:
            for found in re.finditer(b"\0" + name.encode() + b"\0", bytes(data)):
                data[found.start() + 1:found.start() + 4] = b"XQZ"
        open(path, "wb").write(data)
    return str(path)


def twin(function, part="libssl.so"):
    """The address of `function` in a copy of the whole loaded library in anonymous memory, its code as in the file."""
    parts = list(regions(part))
    first, last = min(part[0] for part in parts), max(part[1] for part in parts)
    copy = libc.mmap(None, last - first, READ | WRITE | EXECUTE, PRIVATE | ANONYMOUS, -1, 0)
    for start, end, rights, offset, path in parts:
        if "x" in rights:
            with open(path, "rb") as file:
                file.seek(offset)
                ctypes.memmove(copy + start - first, file.read(end - start).ljust(end - start, b"\0"), end - start)
        else:
            ctypes.memmove(copy + start - first, start, end - start)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
    at = copy + address_of(function) - first
    return lambda tls, data, size: kind(at)(tls, ctypes.cast(data, ctypes.c_void_p), size)
