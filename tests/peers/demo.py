"""The demo: stand-ins up, the agent once with an honest ticket and once with one that carries somebody else's orders."""

import os
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def start(*words):
    return subprocess.Popen([sys.executable, *words], cwd=HERE, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


def when_there(path, process):
    while not os.path.exists(path):
        if process.poll() is not None:
            sys.exit(f"demo: a stand-in ended early ({process.returncode})")
        time.sleep(0.05)
    return open(path).read()


def main(tickets):
    with tempfile.TemporaryDirectory(prefix="agentward-demo-") as folder:
        path = lambda name: os.path.join(folder, name)
        standin = start("standin.py", folder)
        url = f"https://localhost:{when_there(path('port'), standin)}"
        desk = start("mcp_server.py", "http", folder)
        mcp = f"https://localhost:{when_there(path('mcp_port'), desk)}/mcp"
        # Only the agent trusts the stand-ins' authority, and only through its environment.
        environ = {
            **os.environ, "SSL_CERT_FILE": path("ca.pem"), "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "sk-demo-not-a-key",
            "SHOP_URL": url, "MCP_URL": mcp,
        }
        failed = 0
        for ticket, story in tickets:
            print(f"{story} (ticket {ticket})", flush=True)
            failed |= subprocess.run([sys.executable, "agent.py", ticket], cwd=HERE, env=environ).returncode
            time.sleep(1)
        for process in (standin, desk):
            process.stdin.close()
            process.wait()
        return failed


RUNS = {
    "honest": ("T-1", "An honest run: the customer's own order, the amount that was asked"),
    "bad": ("T-2", "A bad run: text in the ticket talks the model into paying a stranger 4900"),
}

if __name__ == "__main__":
    sys.exit(main([RUNS[name] for name in sys.argv[1:] or RUNS]))
