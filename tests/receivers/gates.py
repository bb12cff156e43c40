"""Gates: TCP proxies before the receivers that fail as networks and receivers do, all in one thread of asyncio."""

import asyncio
import contextlib
import ssl
import threading
import time

LOOP = asyncio.new_event_loop()
threading.Thread(target=LOOP.run_forever, daemon=True).start()


class Gate:
    """Listens on a port of its own and passes bytes on to `upstream`, in one of the modes:

    open; down: refuses; slow: one byte a second; flapping: down and open by turns; half-open: connections stand and nothing moves on
    them, never again; certificate: shows one that nobody trusts. `keys` is the folder of certificates of a gate that ends TLS itself;
    one that does not leads to the port `stranger` instead. `gentle`: for a protocol without acknowledgements: what the gate has taken it
    passes on, later.
    """

    def __init__(self, upstream, keys=None, protocol=None, gentle=False, stranger=None):
        self.upstream, self.gentle, self.stranger = upstream, gentle, stranger
        self.mode, self.refuses, self.open, self.dead = "open", False, set(), set()
        self.tls = self.contexts(keys, protocol) if keys else None
        self.server = self.port = None
        asyncio.run_coroutine_threadsafe(self.listen(), LOOP).result()

    def contexts(self, keys, protocol):
        def context(name):
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            made.num_tickets = 0  # a resumed session shows no certificate
            made.load_cert_chain(keys / f"{name}.pem", keys / f"{name}.key")
            if protocol:
                made.set_alpn_protocols([protocol])
            return made

        trusted, stranger = context("server"), context("stranger")

        def choose(connection, _name, _context):
            if self.mode == "certificate":
                connection.context = stranger

        trusted.sni_callback = choose
        return trusted

    async def listen(self):
        # A small buffer: what waits here has left the sender.
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port or 0, ssl=self.tls, limit=4096)
        self.port = self.server.sockets[0].getsockname()[1]

    def set(self, mode):
        asyncio.run_coroutine_threadsafe(self.change(mode), LOOP).result()

    async def change(self, mode):
        self.mode = mode
        if mode in ("down", "certificate"):
            await self.break_off(mode == "down")
        if mode == "half-open" and not self.gentle:
            self.dead |= self.open
        if mode == "flapping":
            LOOP.create_task(self.flap())
        if mode == "open" and self.refuses:
            self.refuses = False
            await self.listen()

    async def break_off(self, refuse):
        if refuse and not self.refuses:
            self.refuses = True
            self.server.close()
        for task in list(self.open):
            task.cancel()

    async def flap(self):
        while self.mode == "flapping":
            await self.break_off(True)
            await asyncio.sleep(0.4)
            if self.refuses:
                self.refuses = False
                await self.listen()
            await asyncio.sleep(0.2)

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.open.add(task)
        if self.mode == "half-open" and not self.gentle:
            self.dead.add(task)
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await self.pass_on(task, reader, writer)
        self.open.discard(task)
        self.dead.discard(task)
        writer.close()

    async def pass_on(self, task, reader, writer):
        port = self.stranger if self.stranger and self.mode == "certificate" else self.upstream
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        pumps = {LOOP.create_task(self.pump(task, *pair)) for pair in ((reader, inner_writer), (inner_reader, writer))}
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if self.gentle:
                await self.take_leave(reader, writer, inner_writer, pumps)
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            inner_writer.close()

    async def take_leave(self, reader, writer, inner_writer, pumps):
        """Says that nothing more is taken, and passes on what was under way."""
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        writer.write_eof()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            while piece := await asyncio.wait_for(reader.read(4096), 5):
                inner_writer.write(piece)
                await inner_writer.drain()

    async def pump(self, task, reader, writer):
        with contextlib.suppress(OSError, ssl.SSLError):
            while True:
                while self.mode == "half-open" or task in self.dead:
                    await asyncio.sleep(0.05)
                slow = self.mode == "slow"
                piece = await reader.read(1 if slow else 4096)
                if not piece:
                    return
                end = time.monotonic() + 1
                while slow and self.mode == "slow" and time.monotonic() < end:
                    await asyncio.sleep(0.05)
                writer.write(piece)
                await writer.drain()
