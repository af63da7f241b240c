"""The protocols: one folder each, with its body (input), its wire (output) and its routes."""
