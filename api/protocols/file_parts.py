"""Pure: a file that a caller attached, as a part of a chat message.

The forms are those of `@ai-sdk/openai-compatible`, because many servers are tested with it.
"""

import base64
import binascii
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from tickertape.runtime.json_types import JsonObject

_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/vnd.wave": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
}
# Media types of text files. Browsers derive the type from the ending of the name. On Windows, CSV
# is a spreadsheet. An unknown type is an octet stream or empty.
_TEXTS = frozenset(
    {
        "application/csv",
        "application/javascript",
        "application/json",
        "application/sql",
        "application/toml",
        "application/x-javascript",
        "application/x-ndjson",
        "application/x-sh",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
    }
)
_PERHAPS_TEXT = frozenset({"", "application/octet-stream", "application/vnd.ms-excel"})
_DEFAULT_NAME = "file"


class NoFormError(ValueError):
    """Chat messages have no form for the file. The error never contains content of the file."""


@dataclass(frozen=True)
class _Data:
    url: str
    media_type: str
    is_base64: bool
    payload: str

    def url_of_type(self, kind: str) -> str:
        """The `data:` URL, with `kind` as its media type if its own type is vague."""
        is_vague = "/" not in self.media_type or self.media_type == "application/octet-stream"
        if not is_vague or not self.is_base64 or "/" not in kind or kind.endswith("*"):
            return self.url
        return f"data:{kind};base64,{self.payload}"

    def text(self) -> str | None:
        """The content as text, None if it is not text."""
        try:
            raw = (
                base64.b64decode(self.payload, validate=True)
                if self.is_base64
                else unquote_to_bytes(self.payload)
            )
            text = raw.decode("utf-8-sig")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return None if "\0" in text else text


def file_part(url: object, media_type: object, filename: object) -> JsonObject:
    """The part for a file with an http or `data:` URL; raises NoFormError.

    `media_type` overrides the type in the URL. All three values are unchecked.
    """
    if not isinstance(url, str):
        raise NoFormError("a file has to have a url")
    data = _data(url)
    kind = _normalized(media_type) or (data.media_type.strip().lower() if data else "")
    if _is_text(kind):
        return _text_part(data)
    top, _, _ = kind.partition("/")
    if top in {"image", "video"}:
        # Any URL is passed on, because the upstream fetches it, never this server.
        target = data.url_of_type(kind) if data else url
        return {"type": f"{top}_url", f"{top}_url": {"url": target}}
    if data is None:
        raise NoFormError("only an image or a video may have another URL than a data: URL")
    if kind in _AUDIO_FORMATS and data.is_base64:
        audio = {"data": data.payload, "format": _AUDIO_FORMATS[kind]}
        return {"type": "input_audio", "input_audio": audio}
    if kind == "application/pdf":
        name = filename if isinstance(filename, str) and filename else _DEFAULT_NAME
        file = {"filename": name, "file_data": data.url_of_type(kind)}
        return {"type": "file", "file": file}
    if kind in _PERHAPS_TEXT and data.text() is not None:
        return _text_part(data)
    raise NoFormError("no model takes this type of file: use text, images, PDF, WAV, MP3 or video")


def _normalized(media_type: object) -> str:
    return media_type.partition(";")[0].strip().lower() if isinstance(media_type, str) else ""


def _data(url: str) -> _Data | None:
    scheme, _, rest = url.partition(":")
    if scheme.lower() != "data":
        return None
    head, _, payload = rest.partition(",")
    media_type, *settings = head.split(";")
    is_base64 = "base64" in (setting.strip().lower() for setting in settings)
    return _Data(url, media_type, is_base64, payload)


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))


def _text_part(data: _Data | None) -> JsonObject:
    if data is None:
        raise NoFormError("a text file has to be sent as a data: URL")
    text = data.text()
    if text is None:
        raise NoFormError("this file is not UTF-8 text")
    return {"type": "text", "text": text}
