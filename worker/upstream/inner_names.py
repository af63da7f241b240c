"""Pure: masks in an upstream's message what names the operator's account or network there.

worker/upstream/redaction.py has removed keys and the prompt before. What remains is for the
operator's log. A caller of this server gets it without account ids, addresses and file paths, and
gets no sentence about the account.
"""

import ipaddress
import re

_MASK = "[…]"
_ACCOUNT_WORDS = re.compile(
    r"\b(?:billing|billed|invoice|payment|pay|paid|quota|credits?|balance|subscriptions?|plan|tier"
    r"|upgrade|purchase|organi[sz]ations?|accounts?|workspaces?|project)\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r".+?(?:[.!?;](?=\s|$)|\n|$)\s*", re.DOTALL)
_IDS = re.compile(
    r"""
      \b (?: org | proj | acct | user | team | ws | wrkspc | sub | cus | tenant ) [-_]
         (?= [\w-]* \d ) [\w-]{6,}                          # org-AbC123, proj_x9, acct_1
    | \b arn: \S+
    | \b [0-9a-f]{8} (?: - [0-9a-f]{4} ){3} - [0-9a-f]{12} \b
    | \b \d{12} \b                                          # the number of an AWS account
    | (?: sk | pk | key )? [-_\w]* \*{3,} [\w*-]*           # the visible ends of a starred key
    """,
    re.IGNORECASE | re.VERBOSE,
)
_PLACES = re.compile(
    r"""
      \b [a-z][a-z0-9+.-]* :// [^\s"'<>)\]]+
    | (?<! [\w.] ) (?: \d{1,3} \. ){3} \d{1,3} (?: : \d+ )? (?! [\w] )
    | \b localhost (?: : \d+ )? \b
    | \b [\w-]+ (?: \. [\w-]+ )* \. (?: internal | local | localdomain | lan | intra | corp | svc
         | consul | private ) (?: \. [\w-]+ )* (?: : \d+ )? \b
    | \b [a-z0-9]+ (?: [-.] [a-z0-9]+ )+ : \d{2,5} \b       # gpu-3:8000
    | (?<= host= ) ['"]? [\w.-]+ ['"]?
    | (?<! [\w/.] ) / (?: home | root | usr | opt | var | etc | app | srv | mnt | data | tmp
         | workspace | models | vllm ) (?: / [\w.@-]+ )+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_MAYBE_IPV6 = re.compile(
    r"(?<![\w:.])\[?[0-9a-f:]*:[0-9a-f.:]*:[0-9a-f.]*(?:\]:\d+)?\]?", re.IGNORECASE
)


def speaks_of_account(message: str) -> bool:
    """Whether a message is about the operator's account at the provider."""
    return _ACCOUNT_WORDS.search(message) is not None


def without_inner_names(message: str) -> str:
    """The sentences that are not about the account, without ids, addresses and file paths."""
    message = _PLACES.sub(_MASK, _IDS.sub(_MASK, message))
    message = _MAYBE_IPV6.sub(_without_ipv6, message)
    kept = (s for s in _SENTENCE.findall(message) if not speaks_of_account(s))
    return "".join(kept).strip()


def _without_ipv6(found: re.Match[str]) -> str:
    text = found[0].lstrip("[").partition("]")[0].rstrip(".")
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return found[0]
    return _MASK
