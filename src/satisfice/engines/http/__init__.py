"""Any OpenAI-compatible server as an engine: `probe` asks what it can do, `wire` and `chunk` read its streams."""
