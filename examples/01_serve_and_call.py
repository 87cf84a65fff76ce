"""Ask a served model for a tool call, with the OpenAI client and nothing else changed.

strop serve --refine adaptive          # in another terminal
python examples/01_serve_and_call.py
"""

from __future__ import annotations

import sys

from openai import OpenAI

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather in a city",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"type": "string"}},
        },
    },
}


def main(base_url: str = "http://127.0.0.1:8000/v1") -> None:
    client = OpenAI(base_url=base_url, api_key="not needed")
    reply = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[{"role": "user", "content": "What is the weather in Oslo?"}],
        tools=[TOOL],
    )
    message = reply.choices[0].message
    for call in message.tool_calls or ():
        print(f"{call.function.name}({call.function.arguments})")
    if message.content:
        print(message.content)
    print("refinement:", reply.model_extra["strop"])


if __name__ == "__main__":
    main(*sys.argv[1:])
