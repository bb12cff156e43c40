"""Plays one run: what it needs goes to the office, then its agent starts, then its users ask: `play.py STORY harmful|honest NUMBER`.

Reads OFFICE_DIR, OFFICE_URL and SSL_CERT_FILE. Prints the agent's process id, and those of the services that it works with, one a line.
"""

import concurrent.futures
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request

from tale import tell

HERE = os.path.dirname(os.path.abspath(__file__))


def main(name, variant, number):
    story = tell(name, variant == "harmful", number)
    agents = [start(name, variant, number)] + [start(partner, variant, its_number) for partner, its_number in story.partners]
    if story.asked:
        ports = [port_of(agent, number) for agent, number in agents]
        ask(story, ports[0])
    sys.exit(max(agent.wait() for agent, _ in agents))


def start(name, variant, number):
    story = tell(name, variant == "harmful", number)
    folder = os.environ["OFFICE_DIR"]
    os.makedirs(os.path.join(folder, "runs"), exist_ok=True)
    plan = os.path.join(folder, f"run-{number}.new")
    with open(plan, "w") as file:
        json.dump({"model": story.model, "api": story.api}, file)
    os.rename(plan, os.path.join(folder, "runs", f"{number}.json"))
    agent = subprocess.Popen([sys.executable, os.path.join(HERE, "agent.py"), name, variant, str(number)])
    print(agent.pid, flush=True)
    return agent, number


def port_of(agent, number):
    """Where a service listens, once it does."""
    port_file = os.path.join(os.environ["OFFICE_DIR"], f"service_port.{number}")
    while not os.path.exists(port_file):
        if agent.poll() is not None:
            sys.exit(f"the service ended early ({agent.returncode})")
        time.sleep(0.05)
    with open(port_file) as file:
        return file.read()


def ask(story, port):
    trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])

    def one(asked):
        path, headers, body = asked
        request = urllib.request.Request(
            f"https://localhost:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, context=trust) as answer:
            answer.read()

    one(story.asked[0])
    with concurrent.futures.ThreadPoolExecutor(story.at_once) as users:
        list(users.map(one, story.asked[1:]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
