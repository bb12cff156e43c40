"""httpx over HTTP/2: sizes both ways, codings, several at once on one connection."""

import asyncio
import os
import ssl

import httpx

URL = os.environ["H2_URL"]


async def main():
    async with httpx.AsyncClient(http2=True, verify=ssl.create_default_context()) as client:
        for size in (0, 1, 16384, 70000, 300_001):
            answer = await client.post(f"{URL}/echo?n={size}", content=bytes(range(256)) * (size // 256 + 1))
            assert answer.http_version == "HTTP/2" and len(answer.content) == size
        asks = ["n=100&gzip=1", "n=1000000", "n=5&trailers=1", "status=204", "n=70000&gzip=1", "n=0"]
        answers = await asyncio.gather(*(client.get(f"{URL}/echo?{ask}") for ask in asks))
        assert all(answer.is_success for answer in answers)
        await client.head(f"{URL}/echo?n=10")


asyncio.run(main())
