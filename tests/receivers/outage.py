"""Receivers that fail while others work: each kind of sink by each kind of failure, all at once, in one outbox.

outage.py DRIVER FOLDER COUNT EVERY [quick]: DRIVER is the example `outage`; `quick` leaves out the failures that a sink notices only after
half a minute. All receivers are reached; then those with a failure have it while
COUNT alerts are sent, one every EVERY milliseconds; the failure ends only when every other sink has delivered every alert. Then all is
well again, and every receiver must hold every alert. A line a sink, exit code 1 when one lacks an alert, got one that was never sent, or
was not hit by its failure.
"""

import asyncio
import collections
import ctypes
import glob
import gzip
import http.server
import json
import logging
import os
import pathlib
import ssl
import subprocess
import sys
import threading
from concurrent import futures

from gates import Gate
from services import certificates, free_port, open_port, until, within

WARM = 20
RECOVERY = 200  # seconds: a sink waits up to 30 s for an answer, then up to 30 s before it tries again, and may have to do so twice

OVER_HTTP = ("http", "splunk_hec", "elastic", "otlp_http", "otlp_grpc")
NETWORK = ("down", "slow", "flapping", "half-open")
FAILURES = {
    **{kind: (*NETWORK, "certificate", "5xx") for kind in (*OVER_HTTP, "nats")},
    "syslog": (*NETWORK, "certificate"),
    "kafka": (*NETWORK, "5xx"),
    "file": ("full",),
}
LONG = ("slow", "half-open")


class Receiver:
    """What stands at the other end of one sink: `place` is its address, `got` how often each alert came."""

    kind = None

    def __init__(self, world, failure):
        self.world, self.failure, self.got = world, failure, collections.Counter()
        self.name = f"{self.kind}-{failure}"

    def fail(self, on):
        self.gate.set(self.failure if on else "open")

    def take(self, alert):
        self.got[alert["uid"]] += 1

    def read(self):
        """Brings `got` up to date where that is not done as alerts come."""

    def plan(self):
        return {"name": self.name, "kind": self.kind, "place": self.place, "ca": str(self.world.keys / "ca.pem"),
                "token": str(self.world.token), "healthy": self.failure == "none"}


class OverHttp(Receiver):
    path = ""

    def __init__(self, world, failure):
        super().__init__(world, failure)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                status, said = (503, b"") if receiver.gate.mode == "5xx" else (200, receiver.answer(body))
                self.send_response(status)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """Broken connections are what this is about."""

        server = Quiet(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.gate = Gate(server.server_address[1], world.keys, "http/1.1")
        self.place = f"https://localhost:{self.gate.port}{self.path}"


class Http(OverHttp):
    kind = "http"

    def answer(self, body):
        self.take(json.loads(body))
        return b""


class SplunkHec(OverHttp):
    kind = "splunk_hec"

    def answer(self, body):
        text, at = body.decode().rstrip(), 0
        while at < len(text):
            envelope, at = json.JSONDecoder().raw_decode(text, at)
            self.take(envelope["event"])
            at += len(text[at:]) - len(text[at:].lstrip())
        return b'{"text":"Success","code":0}'


class Elastic(OverHttp):
    kind = "elastic"

    def answer(self, body):
        documents = [json.loads(line) for line in body.splitlines()[1::2]]
        for document in documents:
            self.take(document)
        return json.dumps({"errors": False, "items": [{"create": {"status": 201}} for _ in documents]}).encode()


class OtlpHttp(OverHttp):
    kind = "otlp_http"
    path = "/v1/logs"

    def answer(self, body):
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as messages
        request = messages.ExportLogsServiceRequest()
        request.ParseFromString(body)
        for alert in logged(request):
            self.take(alert)
        return messages.ExportLogsServiceResponse().SerializeToString()


def logged(request):
    records = (record for resource in request.resource_logs for scope in resource.scope_logs for record in scope.log_records)
    return [json.loads(record.body.string_value) for record in records]


class OtlpGrpc(Receiver):
    kind = "otlp_grpc"

    def __init__(self, world, failure):
        super().__init__(world, failure)
        import grpc
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as messages
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as service
        receiver = self

        class Logs(service.LogsServiceServicer):
            def Export(self, request, context):
                if receiver.gate.mode == "5xx":
                    context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
                for alert in logged(request):
                    receiver.take(alert)
                return messages.ExportLogsServiceResponse()

        self.server = grpc.server(futures.ThreadPoolExecutor(1))
        service.add_LogsServiceServicer_to_server(Logs(), self.server)
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.gate = Gate(port, world.keys, "h2")
        self.place = f"https://localhost:{self.gate.port}"


class Nats(Receiver):
    """A stream of its own on one server; `5xx`: the stream is full."""

    kind = "nats"

    def __init__(self, world, failure):
        super().__init__(world, failure)
        self.gate = Gate(world.nats, stranger=world.nats_stranger)
        self.place = f"tls://localhost:{self.gate.port}"
        asyncio.run(self.on_stream("add_stream", max_msgs=-1))

    def fail(self, on):
        if self.failure == "5xx":
            asyncio.run(self.on_stream("update_stream", max_msgs=WARM if on else -1))
        else:
            super().fail(on)

    async def on_stream(self, what, **more):
        from nats.js.api import DiscardPolicy, StreamConfig
        async with self.world.nats_client() as connection:
            settings = StreamConfig(name=self.name, subjects=[f"alerts.{self.name}"], discard=DiscardPolicy.NEW, **more)
            await getattr(connection.jetstream(timeout=20), what)(settings)

    def read(self):
        asyncio.run(self.read_all())

    async def read_all(self):
        self.got.clear()
        async with self.world.nats_client() as connection:
            context = connection.jetstream(timeout=20)
            count = (await context.stream_info(self.name)).state.messages
            subscription = await context.subscribe(f"alerts.{self.name}", ordered_consumer=True)
            for _ in range(count):
                self.take(json.loads((await subscription.next_msg(timeout=20)).data))


class Syslog(Receiver):
    """An input of its own of one rsyslog; there are no acknowledgements, so its gate passes on what it took."""

    kind = "syslog"

    def __init__(self, world, failure):
        super().__init__(world, failure)
        self.gate = Gate(world.syslog_port(self.name), gentle=True, stranger=world.syslog_stranger)
        self.place = f"localhost:{self.gate.port}"

    def read(self):
        self.got.clear()
        for line in self.world.syslog_out.read_text().split("\n")[:-1]:
            read = json.loads(line)
            if read["in"] == self.name:
                self.take(json.loads(read["msg"].lstrip("\ufeff")))


class Kafka(Receiver):
    """A broker of librdkafka's own cluster, by the calls of rdkafka_mock.h. It names itself to its clients, so no gate stands before it:
    slow and half-open are answers that come late."""

    kind = "kafka"
    PRODUCE = 0  # the key of the request in Kafka's protocol
    BUSY = 7  # REQUEST_TIMED_OUT

    def __init__(self, world, failure):
        super().__init__(world, failure)
        import confluent_kafka
        packages = pathlib.Path(confluent_kafka.__file__).parent.parent
        self.library = ctypes.CDLL(glob.glob(str(packages / "confluent_kafka.libs/librdkafka*"))[0])
        settings = self.call("rd_kafka_conf_new", result=ctypes.c_void_p)
        self.call("rd_kafka_conf_set", settings, b"log_level", b"3", None, 0)
        handle = self.call("rd_kafka_new", 0, settings, None, 0, result=ctypes.c_void_p)
        self.cluster = self.call("rd_kafka_mock_cluster_new", handle, 1, result=ctypes.c_void_p)
        self.call("rd_kafka_mock_topic_create", self.cluster, b"alerts", 1, 1)
        self.place = self.call("rd_kafka_mock_cluster_bootstraps", self.cluster, result=ctypes.c_char_p).decode()
        self.failing = threading.Event()

    def call(self, name, *arguments, result=ctypes.c_int):
        function = getattr(self.library, name)
        function.restype = result
        pointers = [ctypes.c_void_p(value) if isinstance(value, int) and value > 1 << 32 else value for value in arguments]
        return function(*pointers)

    def fail(self, on):
        (self.failing.set if on else self.failing.clear)()
        turn = lambda down: self.call(f"rd_kafka_mock_broker_set_{'down' if down else 'up'}", self.cluster, 1)
        if self.failure == "down":
            turn(on)
        elif self.failure == "flapping" and on:
            threading.Thread(target=self.flap, args=[turn], daemon=True).start()
        elif self.failure in ("slow", "half-open"):
            late = {"slow": 12_000, "half-open": 3_600_000}[self.failure]
            self.call("rd_kafka_mock_broker_set_rtt", self.cluster, 1, late if on else 0)
        elif self.failure == "5xx" and on:
            errors = (ctypes.c_int * 10_000)(*[self.BUSY] * 10_000)
            self.call("rd_kafka_mock_push_request_errors_array", self.cluster, self.PRODUCE, ctypes.c_size_t(len(errors)), errors)
        elif self.failure == "5xx":
            self.call("rd_kafka_mock_clear_request_errors", self.cluster, self.PRODUCE)

    def flap(self, turn):
        while self.failing.is_set():
            turn(True)
            threading.Event().wait(0.4)
            turn(False)
            threading.Event().wait(0.2)

    def read(self):
        from confluent_kafka import Consumer, TopicPartition
        self.got.clear()
        consumer = Consumer({"bootstrap.servers": self.place, "group.id": "g", "enable.auto.commit": False})
        partition = TopicPartition("alerts", 0, 0)
        _, end = consumer.get_watermark_offsets(partition, timeout=20)
        consumer.assign([partition])
        left = end
        while left:
            message = consumer.poll(20)
            if message is None:
                raise AssertionError(f"{self.name}: {left} messages do not come")
            if not message.error():
                self.take(json.loads(message.value()))
                left -= 1
        consumer.close()


class File(Receiver):
    """`full`: the path leads to a device on which nothing fits."""

    kind = "file"

    def __init__(self, world, failure):
        super().__init__(world, failure)
        self.place = str(world.folder / f"{self.name}.jsonl")
        self.pieces = [pathlib.Path(self.place)]

    def fail(self, on):
        if on:
            os.rename(self.place, f"{self.place}.1")
            self.pieces.append(pathlib.Path(f"{self.place}.1"))
            os.symlink("/dev/full", self.place)
        else:
            os.unlink(self.place)

    def read(self):
        self.got.clear()
        for piece in self.pieces:
            for line in piece.read_text().splitlines() if piece.is_file() else []:
                self.take(json.loads(line))


KINDS = {kind.kind: kind for kind in (Http, SplunkHec, Elastic, OtlpHttp, OtlpGrpc, Nats, Syslog, Kafka, File)}


class World:
    """The programs that several receivers share."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        subprocess.run(["rm", "-rf", folder], check=True)
        folder.mkdir(parents=True)
        self.keys = certificates(folder)
        self.token = folder / "token"
        self.token.write_text("token-1\n")
        self.token.chmod(0o600)
        self.nats, self.nats_stranger = self.nats_server("server"), self.nats_server("stranger")
        names = [f"syslog-{failure}" for failure in ("none", *FAILURES["syslog"])]
        self.inputs = {name: free_port() for name in names}
        self.syslog_out = self.rsyslog("server", self.inputs)
        self.syslog_stranger = free_port()
        self.rsyslog("stranger", {"stranger": self.syslog_stranger})

    def start(self, *command, port):
        self.running.append(subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until(lambda: open_port(port), f"{command[0]} does not listen")

    def nats_server(self, name):
        port = free_port()
        self.start("nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", self.folder / f"nats-{name}", "--tls", "--tlscert",
                   self.keys / f"{name}.pem", "--tlskey", self.keys / f"{name}.key", port=port)
        return port

    def nats_client(self):
        import nats
        context = ssl.create_default_context(cafile=self.keys / "ca.pem")

        class Client:
            async def __aenter__(client):
                client.open = await nats.connect(f"tls://localhost:{self.nats}", tls=context)
                return client.open

            async def __aexit__(client, *_):
                await client.open.close()

        return Client()

    def rsyslog(self, name, inputs):
        out, config = self.folder / f"syslog-{name}.received", self.folder / f"syslog-{name}.conf"
        out.touch()
        config.write_text(f"""
global(workDirectory="{self.folder}" maxMessageSize="256k" defaultNetstreamDriver="ossl"
       defaultNetstreamDriverCAFile="{self.keys}/ca.pem" defaultNetstreamDriverCertFile="{self.keys}/{name}.pem"
       defaultNetstreamDriverKeyFile="{self.keys}/{name}.key")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="all" type="list") {{
  constant(value="{{\\"in\\":\\"") property(name="inputname") constant(value="\\",\\"msg\\":\\"") property(name="msg" format="json")
  constant(value="\\"}}\\n")
}}
ruleset(name="in") {{ action(type="omfile" file="{out}" template="all") }}
""" + "".join(f'input(type="imtcp" port="{port}" name="{input}" ruleset="in")\n' for input, port in inputs.items()))
        self.start("rsyslogd", "-n", "-f", config, "-i", self.folder / f"syslog-{name}.pid", port=max(inputs.values()))
        return out

    def syslog_port(self, name):
        return self.inputs[name]

    def end(self):
        for program in self.running:
            program.kill()
            program.wait()


def main(driver, folder, count, every, quick):
    logging.disable(logging.CRITICAL)  # broken connections are what this is about
    world = World(pathlib.Path(folder).absolute())
    cases = [(kind, failure) for kind, failures in FAILURES.items() for failure in ("none", *failures)]
    try:
        receivers = [KINDS[kind](world, failure) for kind, failure in cases if not quick or failure not in LONG]
        return judge(*run(world, receivers, driver, count, every))
    finally:
        world.end()


def run(world, receivers, driver, count, every):
    plans = world.folder / "sinks.json"
    plans.write_text(json.dumps([receiver.plan() for receiver in receivers]))
    child = subprocess.Popen([driver, world.folder, plans], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(words):
        child.stdin.write(f"{words}\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    order(f"send {WARM} 5")
    reached = order("wait 60")
    lacking = [sink["name"] for sink in reached["sinks"] if sink["delivered"] < WARM]
    if lacking:
        raise AssertionError(f"not reached before any failure: {' '.join(lacking)}")
    failing = [receiver for receiver in receivers if receiver.failure != "none"]
    for receiver in failing:
        receiver.fail(True)
    healthy = order(f"send {count} {every}")
    at_worst = {sink["name"]: sink for sink in order("wait 0")["sinks"]}
    for receiver in failing:
        if receiver.kind == "syslog":
            receiver.read()
            at_worst[receiver.name]["delivered"] = sum(receiver.got.values())
    for receiver in failing:
        receiver.fail(False)
    recovered = order(f"wait {RECOVERY}")
    child.stdin.close()
    child.wait(120)
    # rsyslog writes a moment after it was told.
    within(lambda: all_read([receiver for receiver in receivers if receiver.kind == "syslog"], recovered["sent"]), 10)
    for receiver in receivers:
        receiver.read()
    return receivers, healthy, at_worst, recovered


def all_read(receivers, sent):
    for receiver in receivers:
        receiver.read()
    return all(len(receiver.got) == sent for receiver in receivers)


def judge(receivers, healthy, at_worst, recovered):
    sent, faults = recovered["sent"], 0
    after = {sink["name"]: sink for sink in recovered["sinks"]}
    delays = {sink["name"]: sink for sink in healthy["healthy"]}
    wanted = {f"u{number}" for number in range(sent)}
    for receiver in receivers:
        seen, sink = set(receiver.got), after[receiver.name]
        twice = sum(times > 1 for times in receiver.got.values())
        words, troubles = f"{len(seen & wanted)} of {sent} arrived, {twice} more than once", []
        if seen != wanted:
            troubles.append(f"{len(wanted - seen)} lacking, {len(seen - wanted)} never sent")
        if sink["dead"] or sink["lost"]:
            troubles.append(f"{sink['dead']} dead, {sink['lost']} lost")
        if receiver.failure == "none":
            delay = delays[receiver.name]
            words += f"; meanwhile p50 {delay['p50']:.1f} ms, p99 {delay['p99']:.1f} ms"
            if delay["delivered"] < sent:
                troubles.append(f"only {delay['delivered']} while the others failed")
        else:
            behind = sent - at_worst[receiver.name]["delivered"]
            words += f"; {behind} behind at worst, {sink['failures']} failed deliveries"
            if behind == 0 and receiver.failure != "flapping":
                troubles.append("its failure did not hit it")
        faults += bool(troubles)
        print(f"{receiver.name:24} {'FAILED: ' + ', '.join(troubles) if troubles else 'ok'} ({words})", flush=True)
    if healthy["dropped"]:
        faults += 1
        print(f"FAILED: {healthy['dropped']} alerts found the queue full")
    print(f"{len(receivers) - faults} sinks passed, {faults} failed; longest p99 of those that did not fail: "
          f"{max(sink['p99'] for sink in delays.values()):.1f} ms")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), "quick" in sys.argv[5:]))
