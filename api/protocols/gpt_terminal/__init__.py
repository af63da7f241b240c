"""The one call of GPT Terminal's page."""
