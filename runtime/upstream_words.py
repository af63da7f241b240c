"""Sentences about the upstream that workers publish and the API reads. A release keeps them."""

KEY_REFUSED = "The server's key for its model provider was refused."
UNREACHABLE = "The upstream cannot be reached."
