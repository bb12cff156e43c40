"""Plays one run: what it needs goes to the office, then its agent starts, then its users ask: `play.py STORY harmful|honest NUMBER`.

Reads OFFICE_DIR, OFFICE_URL and SSL_CERT_FILE. Prints the agent's process id.
"""

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
    folder = os.environ["OFFICE_DIR"]
    os.makedirs(os.path.join(folder, "runs"), exist_ok=True)
    plan = os.path.join(folder, f"run-{number}.new")
    with open(plan, "w") as file:
        json.dump({"model": story.model, "api": story.api}, file)
    os.rename(plan, os.path.join(folder, "runs", f"{number}.json"))
    agent = subprocess.Popen([sys.executable, os.path.join(HERE, "agent.py"), name, variant, str(number)])
    print(agent.pid, flush=True)
    if story.asked:
        ask(story, os.path.join(folder, f"service_port.{number}"), agent)
    sys.exit(agent.wait())


def ask(story, port_file, agent):
    while not os.path.exists(port_file):
        if agent.poll() is not None:
            sys.exit(f"the service ended early ({agent.returncode})")
        time.sleep(0.05)
    with open(port_file) as file:
        port = file.read()
    trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    for path, headers, body in story.asked:
        request = urllib.request.Request(
            f"https://localhost:{port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
        with urllib.request.urlopen(request, context=trust) as answer:
            answer.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
