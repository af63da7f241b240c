"""The protocols: one folder each, with its body (input), its wire (output) and its routes.

The modules beside the folders are shared by several protocols.
"""
