"""What decoded JSON is called in annotations."""

from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object whose fields a caller, the upstream or the log chose: check a field before use."""
