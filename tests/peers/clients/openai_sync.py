"""Whole and streamed completions, one connection, then a second client."""
import openai

for _ in range(2):
    with openai.OpenAI() as client:
        for number in range(3):
            ask = [{"role": "user", "content": f"sync {number} " + "padding " * 4000 * number}]
            client.chat.completions.create(model="gpt-5", messages=ask)
            for _ in client.chat.completions.create(model="gpt-5", messages=ask, stream=True):
                pass
