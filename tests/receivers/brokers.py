"""nats-server in a cluster of three, one of which is killed; librdkafka's own cluster of three brokers."""

import asyncio
import json
import subprocess
import time

from receive import ALERTS, COUNT, FOLDER, PROGRAM, SOURCE, deliver, expect, same, whole
from services import free_port, until


def nats(number, clients, routes):
    store = FOLDER / f"nats-{number}"
    subprocess.run(["rm", "-rf", store], check=True)
    others = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
    return subprocess.Popen(
        ["nats-server", "-a", "127.0.0.1", "-p", str(clients[number]), "-js", "-sd", store, "-n", f"n{number}", "--cluster_name", "c",
         "--cluster", f"nats://127.0.0.1:{routes[number]}", "--routes", others],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sink_nats_jetstream_cluster():
    """Half of the alerts, then one server is killed, then all of them: the stream holds each once."""
    asyncio.run(jetstream())


async def jetstream():
    import logging
    import nats as client
    logging.disable(logging.CRITICAL)  # servers that are not up yet, and the one that is killed, are part of the case
    clients, routes = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    servers = [nats(number, clients, routes) for number in range(3)]
    urls = [f"nats://127.0.0.1:{port}" for port in clients]
    try:
        connection, context = await patiently(lambda: new_stream(client, urls), "the cluster has no leader", 60)
        half = FOLDER / "half.jsonl"
        half.write_text("\n".join(SOURCE.read_text().split("\n")[: COUNT // 2]) + "\n")
        keys = {"type": "nats", "codec": "native", "urls": urls, "subject": "alerts.host"}
        await asyncio.to_thread(deliver_from, half, "nats", keys)
        leader = (await patiently(lambda: context.stream_info("alerts"), "the stream has no leader", 60)).cluster.leader
        servers[int(leader[1:])].kill()
        await asyncio.to_thread(eventually, "nats", keys)
        await connection.close()
        left = [url for number, url in enumerate(urls) if number != int(leader[1:])]
        uids, state = await patiently(lambda: read_back(client, left), "the cluster of two does not give the stream", 90)
        expect(whole(uids) == COUNT and state.messages == COUNT, f"{state.messages} messages for {COUNT} alerts")
    finally:
        for server in servers:
            server.kill()
            server.wait()


async def new_stream(client, urls):
    connection = await client.connect(urls, connect_timeout=2, max_reconnect_attempts=2)
    context = connection.jetstream(timeout=5)
    await context.add_stream(name="alerts", subjects=["alerts.>"], num_replicas=3)
    return connection, context


async def read_back(client, urls):
    """All messages from the first, and the stream's own account of them."""
    connection = await client.connect(urls)
    try:
        context = connection.jetstream(timeout=5)
        subscription = await context.subscribe("alerts.>", ordered_consumer=True)
        uids = []
        while len(uids) < COUNT:
            message = await subscription.next_msg(timeout=5)
            alert = json.loads(message.data)
            same(alert["uid"], alert, ALERTS[int(alert["uid"][4:])], "all")
            same(alert["uid"], message.headers["Nats-Msg-Id"], alert["uid"], "message id")
            uids.append(alert["uid"])
        return uids, (await context.stream_info("alerts")).state
    finally:
        await connection.close()


async def patiently(attempt, what, seconds):
    """Servers elect a leader first, and again once one of them is killed: until then each request may go unanswered."""
    end = time.monotonic() + seconds
    while True:
        try:
            return await attempt()
        except AssertionError:
            raise
        except Exception as error:
            expect(time.monotonic() < end, f"after {seconds} s: {what}: {type(error).__name__} {error}")
            await asyncio.sleep(0.3)


def eventually(name, keys):
    """The daemon would go on trying; here the command is repeated, which sends everything again."""

    def taken():
        said = deliver(name, fails=True, **keys)
        return said["delivered"] == said["sent"]

    until(taken, "the cluster of two does not take the alerts", 90)


def deliver_from(path, name, keys):
    config = FOLDER / f"{name}.toml"
    config.write_text("[[sink]]\nname = \"nats\"\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))
    subprocess.run([PROGRAM, "sinks", "test", name, "--config", config, "--from", path], check=True, capture_output=True, timeout=120)


def sink_kafka_librdkafka_cluster():
    from confluent_kafka import Consumer, Producer
    owner = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3})
    owner.produce("alerts", b"first")
    owner.flush(10)
    brokers = [f"127.0.0.1:{broker.port}" for broker in owner.list_topics(timeout=10).brokers.values()]
    deliver("kafka", type="kafka", codec="native", brokers=brokers, topic="alerts")
    consumer = Consumer({"bootstrap.servers": ",".join(brokers), "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["alerts"])
    uids, places = [], {}

    def read():
        message = consumer.poll(0.2)
        if message and not message.error() and message.value() != b"first":
            alert = json.loads(message.value())
            same(alert["uid"], alert, ALERTS[int(alert["uid"][4:])], "all")
            same(alert["uid"], message.key().decode(), alert["workflow"], "key")
            same(alert["uid"], dict(message.headers())["uid"].decode(), alert["uid"], "header")
            places.setdefault(alert["workflow"], []).append((message.partition(), alert["uid"]))
            uids.append(alert["uid"])
        return len(uids) >= COUNT

    until(read, f"{len(uids)} messages were read", 60)
    consumer.close()
    expect(whole(uids) == COUNT, "a message came twice")
    for workflow, seen in places.items():
        expect(len({partition for partition, _ in seen}) == 1 and seen == sorted(seen), f"{workflow} is out of order")


CASES = [sink_nats_jetstream_cluster, sink_kafka_librdkafka_cluster]
