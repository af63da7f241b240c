"""The edge: which callers are let in, which bodies are read, and what a refusal looks like."""
