"""Any OpenAI-compatible server as an engine.

`probe` and `family` ask what it can do and how its model thinks; `wire` and `chunk` read its streams; `engine`
continues texts; `chat` takes whole answers from a server that has a chat route alone.
"""
