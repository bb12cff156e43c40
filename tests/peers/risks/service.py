"""An agent as a service: each request that comes in is one task of its model. Two doors: `/ask` for people, `/a2a` for other agents."""

import json
import os
import socket

import uvicorn


async def serve(agent, offered, requests):
    """Ends after so many requests."""
    folder = os.environ["OFFICE_DIR"]
    path = lambda name: os.path.join(folder, name)
    listening = socket.create_server(("127.0.0.1", 0))
    left = requests

    async def app(scope, receive, send):
        nonlocal left
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        agent.entered = {name.decode(): value.decode() for name, value in scope["headers"]}
        asked = json.loads(body)
        a2a = scope["path"] == "/a2a"
        text = asked["params"]["message"]["parts"][0]["text"] if a2a else asked["text"]
        told = await agent.work(text, offered)
        message = {"role": "agent", "kind": "message", "messageId": "m-2", "parts": [{"kind": "text", "text": told}]}
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": message} if a2a else {"answer": told}
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
        left -= 1
        server.should_exit = left == 0

    server = uvicorn.Server(uvicorn.Config(
        app, ssl_certfile=path("server.pem"), ssl_keyfile=path("server.key"), log_level="error", lifespan="off"))
    fresh = path(f"service_port.{agent.number}.new")
    with open(fresh, "w") as file:
        file.write(str(listening.getsockname()[1]))
    os.rename(fresh, path(f"service_port.{agent.number}"))
    await server.serve(sockets=[listening])
