"""Any OpenAI client, pointed at a served model: a call, the same streamed, the same refined.

strop serve                            # in another terminal
python examples/01_serve_and_call.py [BASE_URL]
"""

from __future__ import annotations

import os
import sys

from openai import APIConnectionError, OpenAI

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def main() -> None:
    client = OpenAI(base_url=URL, api_key=os.environ.get("STROP_API_KEY", "none"))
    try:
        model = client.models.list().data[0].id
    except APIConnectionError:
        sys.exit(f"nothing answers at {URL}: start it with `strop serve`")
    messages = [{"role": "user", "content": "What is the weather in Oslo?"}]

    reply = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    for call in reply.choices[0].message.tool_calls or ():
        print(f"call:     {call.function.name}({call.function.arguments})")

    print("streamed: ", end="")
    for chunk in client.chat.completions.create(model=model, messages=messages, tools=[WEATHER], stream=True):
        for part in chunk.choices[0].delta.tool_calls or ():
            print(part.function.name or part.function.arguments, end=" ", flush=True)
    print()

    refined = client.chat.completions.create(
        model=model, messages=messages, tools=[WEATHER], extra_body={"strop": {"refine": "adaptive"}}
    )
    strop, usage = refined.model_extra["strop"], refined.usage
    print(
        f"refined:  {strop['rounds']} round(s), stopped by {strop['stop_reason']}, p(stop) {strop['p_stop']}"
    )
    print(f"          {usage.completion_tokens} tokens written, drafts and checks included")


if __name__ == "__main__":
    main()
