"""LangChain over ``strop serve``: its chat model, its tools, refinement by the model's name.

strop serve                            # in another terminal
python examples/04_langchain.py [BASE_URL]
"""

from __future__ import annotations

import os
import sys

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import APIConnectionError

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"


@tool
def get_weather(city: str) -> str:
    """Current weather in a city."""
    return f"19 °C and sunny in {city}"


def main() -> None:
    key = os.environ.get("STROP_API_KEY", "none")
    # ``strop:`` before the name asks for adaptive refinement; nothing else of the program changes.
    chat = ChatOpenAI(model="strop:qwen2.5-coder-0.5b", base_url=URL, api_key=key).bind_tools([get_weather])
    try:
        message = chat.invoke("What is the weather in Oslo?")
    except APIConnectionError:
        sys.exit(f"nothing answers at {URL}: start it with `strop serve`")
    for call in message.tool_calls:
        print(f"{call['name']}({call['args']}) -> {get_weather.invoke(call['args'])}")


if __name__ == "__main__":
    main()
