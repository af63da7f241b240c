"""The tenants of a run, and their API keys."""

TENANTS = ("ada", "bob", "eve")


def key_of(tenant: str) -> str:
    """The API key of a tenant."""
    return f"the-api-key-of-{tenant}"
