"""The routes, one file per noun. They parse, ask the broker, and render."""
