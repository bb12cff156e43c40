"""Heavy and harmless: nothing here hides anything. ordinary.py WORKLOAD SECONDS"""

import multiprocessing.connection
import os
import random
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import urlsplit

URL = os.environ["STANDIN_URL"]
AT = urlsplit(URL)
AUTHORITY = os.environ["SSL_CERT_FILE"]
FOLDER = tempfile.mkdtemp(prefix="ordinary-")
END = time.monotonic() + float(sys.argv[2])
NOISE = random.Random(7).randbytes(1 << 20)


def until_the_end(act):
    turns = 0
    while time.monotonic() < END:
        act()
        turns += 1
    print(f"{sys.argv[1]}: {turns} turns", flush=True)
    assert turns > 0


def run(*words, **more):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def serve(handle):
    """A server of this process's own, on loopback: `handle(stream)` in a thread for each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()


def pip_install():
    trust = {**os.environ, "REQUESTS_CA_BUNDLE": AUTHORITY, "PIP_CERT": AUTHORITY}
    until_the_end(lambda: run(
        sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-deps", "--upgrade", "--target", f"{FOLDER}/t", "--cert", AUTHORITY,
        "--index-url", f"{URL}/simple/", "agentward-nothing", env=trust))


def git_clone():
    def act():
        run("git", "clone", "-q", f"{URL}/git/repo", f"{FOLDER}/clone")
        run("rm", "-rf", f"{FOLDER}/clone")
    until_the_end(act)


def curl_downloads():
    until_the_end(lambda: run("curl", "-fsS", "-o", "/dev/null", f"{URL}/echo?n=4000000", f"{URL}/echo?n=100&gzip=1"))


def wget_downloads():
    until_the_end(lambda: run("wget", "-q", "-O", "/dev/null", f"--ca-certificate={AUTHORITY}", f"{URL}/echo?n=2000000"))


def node_fetch():
    script = """
        const end = Date.now() + 4000;
        const body = 'x'.repeat(3000);
        const one = async (n) => (await fetch(process.env.STANDIN_URL + '/echo?n=' + n, {method: 'POST', body})).arrayBuffer();
        while (Date.now() < end) await Promise.all([one(10), one(100000), one(0), one(5000)]);
    """
    until_the_end(lambda: run("node", "-e", script))


def postgres():
    """A cluster of its own, that nobody else reaches; the server does not run as root."""
    data = f"{FOLDER}/data"
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    os.chmod(FOLDER, 0o755)
    os.mkdir(data)
    os.chown(data, 65534, 65534)
    run(*as_nobody, "initdb", "-D", data, "-A", "trust", "-U", "test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    server = subprocess.Popen([*as_nobody, "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", ""],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    psql = ["psql", "-q", "-h", "127.0.0.1", "-p", port, "-U", "test", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c"]
    while subprocess.run([*psql, "select 1"], capture_output=True).returncode:
        time.sleep(0.2)
    run(*psql, "create table t (a int, b bytea)")
    insert = "insert into t select n, decode(md5(n::text) || md5((n + 1)::text), 'hex') from generate_series(1, 2000) n; select * from t limit 500"
    try:
        until_the_end(lambda: run(*psql, insert))
    finally:
        server.terminate()
        server.wait()


def key_value_store():
    """RESP, as a Redis client and server speak it, with values that do not compress."""
    def handle(stream):
        file = stream.makefile("rwb")
        store = {}
        while line := file.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int(file.readline()[1:])
                words.append(file.read(size + 2)[:-2])
            if words[0] == b"SET":
                store[words[1]] = words[2]
                file.write(b"+OK\r\n")
            else:
                value = store[words[1]]
                file.write(b"$%d\r\n%s\r\n" % (len(value), value))
            file.flush()
    connection = socket.create_connection(serve(handle))
    file = connection.makefile("rwb")

    def command(*words):
        file.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        file.flush()
        first = file.readline()
        return file.read(int(first[1:]) + 2) if first[:1] == b"$" else first

    def act():
        for number in range(100):
            value = NOISE[number * 1000:number * 1000 + 1500]
            command(b"SET", b"k%d" % number, value)
            assert command(b"GET", b"k%d" % number)[:-2] == value
        time.sleep(0.05)
    until_the_end(act)


def video():
    """A media stream by RTP, and reports back."""
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.bind(("127.0.0.1", 0))
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.connect(far.getsockname())
    count = 0

    def act():
        nonlocal count
        for _ in range(20):
            near.send(struct.pack(">BBHII", 0x80, 96, count & 0xffff, count * 3000 & 0xffffffff, 0xa1b2c3d4) + NOISE[count % 1000 * 1000:][:1100])
            data, address = far.recvfrom(2000)
            count += 1
        far.sendto(struct.pack(">BBHI", 0x81, 201, 7, 0xa1b2c3d4) + bytes(24), address)
        near.recv(2000)
        time.sleep(0.02)
    until_the_end(act)


def name_lookups():
    """A resolver asks for the names of a big site, content networks among them."""
    far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    far.bind(("127.0.0.1", 0))

    def answer():
        while True:
            data, address = far.recvfrom(2000)
            far.sendto(data[:2] + b"\x81\x80" + data[4:6] + b"\0\1\0\0\0\0" + data[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1", address)
    threading.Thread(target=answer, daemon=True).start()
    names = [f"{kind}{number}.{zone}" for number in range(40) for kind in ("img", "api", "edge-cache-eu-west-") for zone in
             ("example.com", "a1b2c3d4e5f6a7b8.cdn.example.net", "d111111abcdef8.cloudfront.example.net")]

    def act():
        for name in names:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near:
                near.connect(far.getsockname())
                labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
                near.send(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1")
                near.recv(2000)
        time.sleep(0.1)
    until_the_end(act)


def worker(address):
    with multiprocessing.connection.Client(address, authkey=b"k") as connection:
        while True:
            number, data = connection.recv()
            connection.send((number, sum(data[:1000]), data))


def worker_processes():
    """Python's own way to share work among processes, over TCP."""
    with multiprocessing.connection.Listener(("127.0.0.1", 0), authkey=b"k") as listener:
        workers = [multiprocessing.Process(target=worker, args=(listener.address,), daemon=True) for _ in range(2)]
        for process in workers:
            process.start()
        connections = [listener.accept() for _ in workers]

        def act():
            for number, connection in enumerate(connections):
                connection.send((number, [random.random() for _ in range(2000)]))
            for connection in connections:
                connection.recv()
            time.sleep(0.02)
        until_the_end(act)
        for process in workers:
            process.kill()


def pooled_tls():
    """Connections that are opened ahead, rest, and are used now and then; some are never used."""
    context = ssl.create_default_context()
    connect = lambda: context.wrap_socket(socket.create_connection((AT.hostname, AT.port)), server_hostname=AT.hostname)
    pool = [connect() for _ in range(8)]

    def act():
        connection = pool[random.randrange(6)]
        connection.sendall(b"GET /echo?n=20 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv(65536)
        connect().close()
        time.sleep(random.random())
    until_the_end(act)


def tls_in_memory():
    """asyncio: TLS in memory, its records through the loop's sockets; many connections in one thread."""
    import asyncio
    context = ssl.create_default_context()

    async def one():
        while time.monotonic() < END:
            reader, writer = await asyncio.open_connection(AT.hostname, AT.port, ssl=context)
            for _ in range(10):
                body = NOISE[:random.randrange(1, 40_000)]
                writer.write(b"POST /echo?n=3000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(3000)
            writer.close()

    async def all_of_them():
        await asyncio.gather(*(one() for _ in range(8)))
        print("turns", flush=True)
    asyncio.run(all_of_them())


def files_by_http():
    """A static server lets the kernel send its files."""
    with open(f"{FOLDER}/file", "wb") as file:
        file.write(NOISE)

    def handle(stream):
        with open(f"{FOLDER}/file", "rb") as file:
            while stream.recv(65536):
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(NOISE))
                stream.sendfile(file, 0)
    address = serve(handle)

    def act():
        run("curl", "-fsS", "-o", "/dev/null", f"http://127.0.0.1:{address[1]}/file")
    until_the_end(act)


def secure_shell():
    import asyncio
    import json
    import asyncssh
    port = json.loads(os.environ["EVASION_PORTS"])["ssh"]

    async def all_of_them():
        async with asyncssh.connect("127.0.0.1", port, username="u", password="p", known_hosts=None, config=None) as link:
            while time.monotonic() < END:
                reader, writer = await link.open_connection("localhost", 1)
                writer.write(NOISE[:20_000])
                writer.write_eof()
                await reader.read()
    asyncio.run(all_of_them())


if __name__ == "__main__":
    globals()[sys.argv[1]]()
