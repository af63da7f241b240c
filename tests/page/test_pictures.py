"""The command behind the README's pictures works with the page as it is."""

from pathlib import Path

import pytest

from tests.page.pictures import MAX_BYTES, make_pictures
from tests.support.browser import find_chromium

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(180)]


async def test_the_readmes_pictures_are_made(tmp_path: Path) -> None:
    if find_chromium() is None:
        pytest.skip("Chromium is not installed")
    await make_pictures(tmp_path)
    pictures = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(pictures) == {"two-browsers-light.webp", "two-browsers-dark.webp"}
    for picture in pictures.values():
        assert picture.startswith(b"RIFF")
        assert 20_000 < len(picture) < MAX_BYTES
