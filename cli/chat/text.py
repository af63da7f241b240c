"""Pure: makes text of a model or a server harmless for a terminal."""

# A model must not move the cursor, set the title or type for the user: control characters are shown
# as their Unicode pictures. CR is removed, because a lone CR would overwrite its line.
_HARMLESS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_HARMLESS |= dict.fromkeys(range(0x80, 0xA0), "\N{REPLACEMENT CHARACTER}")
_HARMLESS |= {ord("\r"): "", 0x7F: "\N{SYMBOL FOR DELETE}"}


def harmless(text: str) -> str:
    """`text` without control characters, except line feeds and tabs."""
    return text.translate(_HARMLESS)


def one_line(text: str, width: int) -> str:
    """The harmless first words of `text` on one line of at most `width` characters."""
    line = " ".join(harmless(text).split())
    return line if len(line) <= width else line[: width - 1] + "…"
