"""Answers in Markdown for tests: one with everything, and attacks."""

RICH = """# Title

A *short* **text** with `code`, ~~gone~~ and https://example.org/a_b.

- one
- two
  1. inner

Tasks:

- [x] done
- [ ] open

| left | right |
|:-----|------:|
| a    |     1 |

```python
def f(x):
    return "a" + x  # a comment
```

> quoted

$$\\int_0^1 x^2 dx = \\frac{1}{3}$$

Inline \\(a^2\\) and $b_1$, for $5 and $10. ![a picture](https://example.org/p.png)

### The end
"""

ATTACKS = [
    "<script>owned=1</script>",
    '<img src=x onerror="owned=1">',
    '<svg onload="owned=1"><a xlink:href="javascript:owned=1"><text>x</text></a></svg>',
    '<iframe srcdoc="<script>parent.owned=1</script>"></iframe>',
    '<style>body { display: none }</style><p style="position:fixed">x</p>',
    '<form id="composer" action="https://example.org"><input name="message"></form>',
    '<a id="feed" name="feed" href="javascript:owned=1">x</a>',
    "<math><mtext><table><mglyph><style><img src=x onerror=owned=1></style></mglyph></table>",
    '<details open ontoggle=owned=1><meta http-equiv=refresh content="0;url=https://example.org">',
    "[click](javascript:owned=1) [click](JaVaScRiPt:owned=1)",
    "[click](&#106;avascript:owned=1) [click](java\tscript:owned=1)",
    "[click](data:text/html,<script>parent.owned=1</script>) <javascript:owned=1>",
    "[click](vbscript:x) [click](//example.org/x) [click](/status) [click](file:///etc/passwd)",
    "[x]: javascript:owned=1\n\n[click][x] ![click][x]",
    "![x](https://example.org/track.png) ![x](data:image/svg+xml,<svg/onload=owned=1>)",
    '![x](https://example.org/a"onerror="owned=1)',
    "[a](https://e.org/\"onmouseover=\"owned=1) [a](https://e.org 'x\" onclick=\"owned=1')",
    '```"><img src=x onerror=owned=1>\n</code></pre><script>owned=1</script>\n```',
    "```html\n<img src=x onerror=owned=1><script>owned=1</script>\n```",
    "~~~constructor\n__proto__\n~~~\n\n```__proto__\nx\n```",
    "$\\href{javascript:owned=1}{x}$ $\\url{javascript:owned=1}$",
    "$\\htmlStyle{position:fixed}{x}$ $\\htmlId{feed}{x}$ $\\htmlData{a=b}{x}$",
    '$\\includegraphics{https://example.org/x.png}$ $\\textcolor{red" onclick="owned=1}{x}$',
    "$\\text{<img src=x onerror=owned=1>}$ $\\boxed{x}$ $\\colorbox{red}{x}$ $\\fbox{x}$",
    "$\\rule{1em}{1em}$ $\\kern99999em x$ $\\def\\a{\\a\\a}\\a$ $\\color{#f00}x$",
    "$$\\begin{array}{c|c} a & b \\\\ \\hline c & d \\end{array} \\tag{1}$$",
    "| a |\n|:-:|\n| <img src=x onerror=owned=1> `|` [x](javascript:owned=1) |",
    "\u202e right to left \u2066 <b>bold</b> &lt;script&gt;owned=1&lt;/script&gt; \0",
    "[__proto__]: https://e.org\n[constructor]: https://e.org\n\n[__proto__] [constructor]",
    "- [x] <input onfocus=owned=1 autofocus>\n- [ ] <button formaction=javascript:owned=1>x",
]  # fmt: skip
