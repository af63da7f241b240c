"""The native protocol: requests, conversations, and their event streams with cursors."""
