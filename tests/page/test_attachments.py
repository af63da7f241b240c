"""Images and files in a question: pasted, dropped or chosen, sent, and shown to every reader."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.page.looking import ANSWERS, BOX, QUESTIONS, ask, click, shows
from tests.page.site import Site
from tests.page.test_shell import findings
from tests.support.browser import Browser, Page
from tests.support.node import installed
from tests.support.script import answer

pytestmark = pytest.mark.slow

# A file in the page: a picture that a canvas draws, or text.
FILES = """
window.picture = async (name, width, height, type = 'image/png') => {
  const canvas = new OffscreenCanvas(width, height)
  canvas.getContext('2d').fillRect(0, 0, width / 2, height)
  return new File([await canvas.convertToBlob({type})], name, {type})
}
window.textFile = (name, text, type = 'text/plain') => new File([text], name, {type})
window.carrying = (...files) => {
  const data = new DataTransfer()
  for (const file of files) data.items.add(file)
  return data
}
window.paste = (...files) => document.getElementById('message').dispatchEvent(
  new ClipboardEvent('paste', {clipboardData: carrying(...files), bubbles: true, cancelable: true}))
window.drag = (type, ...files) => document.getElementById('feed').dispatchEvent(
  new DragEvent(type, {dataTransfer: carrying(...files), bubbles: true, cancelable: true}))
"""
PENDING = "[...document.querySelectorAll('#attachments .name')].map((name) => name.textContent)"
READ = "document.querySelectorAll('#attachments [aria-busy]').length === 0"
PROBLEM = "document.getElementById('problem').textContent"
ATTACHED = "[...document.querySelectorAll('.attached .name')].map((name) => name.textContent)"
PICTURES = "[...document.querySelectorAll('.attached img')].map((one) => one.naturalWidth)"


async def opened(browser: Browser, url: str, **looks: Any) -> Page:
    """A page that can make files."""
    page = await browser.open(url, **looks)
    await page.evaluate(FILES)
    return page


def sent(site: Site) -> list[dict[str, Any]]:
    """The content of the last message that the upstream got."""
    content: list[dict[str, Any]] = site.upstream.calls[-1].body["messages"][-1]["content"]
    return content


async def test_a_pasted_image_is_sent_and_every_reader_sees_it(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site.url)
    await page.evaluate("picture('cat.png', 40, 20).then((file) => { paste(file) })")
    await shows(page, PENDING, ["cat.png"])
    await ask(page, "What is this?")
    await page.wait_for(f"{ANSWERS}.length === 1 && {ANSWERS}[0] !== ''")
    text, image = sent(site)
    assert text == {"type": "text", "text": "What is this?"}
    assert image["image_url"]["url"].startswith("data:image/png;base64,")
    await shows(page, PENDING, [])
    other = await browser.open(await page.evaluate("location.href"))
    await page.reload()
    for reader in (page, other):
        await shows(reader, QUESTIONS, ["What is this?"])
        await shows(reader, PICTURES, [40])
    assert page.problems == other.problems == []


async def test_the_next_question_still_sends_the_image_of_the_one_before(
    browser: Browser, site: Site
) -> None:
    site.answers["And now?"] = answer("Still a cat.")
    page = await opened(browser, site.url)
    await page.evaluate("picture('cat.png', 40, 20).then((file) => { paste(file) })")
    await ask(page, "What is this?")
    await page.wait_for(f"{ANSWERS}.length === 1 && {ANSWERS}[0] !== ''")
    await ask(page, "And now?")
    await page.wait_for(f"{ANSWERS}[1] === 'Still a cat.'")
    first = site.upstream.calls[-1].body["messages"][0]["content"]
    assert [part["type"] for part in first] == ["text", "image_url"]


async def test_files_dropped_anywhere_are_attached_and_the_page_shows_that_it_takes_them(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site.url)
    shade = "document.getElementById('drop').checkVisibility()"
    await page.evaluate("drag('dragover', textFile('a.txt', 'one'))")
    assert await page.evaluate(shade)
    await page.evaluate(
        "drag('drop', textFile('notes.txt', 'one\\r\\ntwo'), "
        "textFile('say.wav', 'RIFF', 'audio/wav'), "
        "textFile('paper.pdf', '%PDF', 'application/pdf'))"
    )
    assert not await page.evaluate(shade)
    await shows(page, PENDING, ["notes.txt", "say.wav", "paper.pdf"])
    await page.wait_for(READ)
    await click(page, "#send")
    await shows(page, ATTACHED, ["notes.txt", "Sound, WAV", "paper.pdf"])
    await page.wait_for(f"{ANSWERS}[0] !== ''")
    notes, sound, paper = sent(site)
    assert notes["text"] == '<file name="notes.txt">\none\ntwo\n</file>'
    assert sound["input_audio"] == {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}
    assert paper["file"]["filename"] == "paper.pdf"
    assert paper["file"]["file_data"].startswith("data:application/pdf;base64,")


async def test_a_chosen_photo_is_drawn_smaller_and_loses_what_the_camera_wrote(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    page = await opened(browser, site.url)
    photo = await page.evaluate(
        "picture('', 3000, 1000, 'image/jpeg').then(async (file) => "
        "btoa(Array.from(new Uint8Array(await file.arrayBuffer()), (byte) => "
        "String.fromCharCode(byte)).join('')))"
    )
    place = b"\xff\xe1\x00\x10Exif\0\0latitude"[:18]
    path = tmp_path / "holiday.jpg"
    raw = base64.b64decode(photo)
    path.write_bytes(raw[:2] + place + raw[2:])
    await choose(page, path)
    await shows(page, PENDING, ["holiday.jpg"])
    await page.wait_for(READ)
    await click(page, "#send")
    await shows(page, PICTURES, [2048])
    await page.wait_for(f"{ANSWERS}[0] !== ''")
    (image,) = sent(site)
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert b"Exif" not in base64.b64decode(data)


async def choose(page: Page, *paths: Path) -> None:
    """Choose files as the file chooser does."""
    document = await page.command("DOM.getDocument")
    found = await page.command(
        "DOM.querySelector", nodeId=document["root"]["nodeId"], selector="#files"
    )
    files = [str(path) for path in paths]
    await page.command("DOM.setFileInputFiles", nodeId=found["nodeId"], files=files)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ("textFile('void.txt', '')", "void.txt is empty, or a folder."),
        ("textFile('odd.bin', '\\0\\u0001')", "odd.bin is of a kind that no model reads."),
        ("textFile('fake.png', 'no picture', 'image/png')", "fake.png cannot be read as an image."),
        ("textFile('long.txt', 'x'.repeat(2 ** 20 * 20))", "long.txt takes 20 MB in a message."),
        ("...Array.from({length: 11}, (_, n) => textFile(`${n}.txt`, 'x'))", "10.txt was not"),
        (
            "...['a', 'b'].map((name) => textFile(`${name}.txt`, 'x'.repeat(2 ** 20 * 10)))",
            "All files together",
        ),
    ],
    ids=["empty", "binary", "no-image", "large", "many", "large-together"],
)
async def test_a_file_that_cannot_be_sent_is_refused_at_once_by_its_name(
    browser: Browser, site: Site, files: str, reason: str
) -> None:
    page = await opened(browser, site.url)
    await page.evaluate(f"paste({files})")
    await page.wait_for(f"{PROBLEM}.includes({json.dumps(reason)})")
    await page.wait_for(READ)
    assert len(await page.evaluate(PENDING)) == {"10.txt was not": 10, "All files together": 1}.get(
        reason, 0
    )
    assert site.asked == []


async def test_hostile_names_and_an_svg_are_shown_as_text(browser: Browser, site: Site) -> None:
    page = await opened(browser, site.url)
    await page.evaluate(
        "window.harmed = false; paste("
        "textFile('<img src=x onerror=\"harmed = true\">.txt', 'x'), "
        "textFile('a\\u202Etxt.exe', 'x'), "
        "textFile('a.svg', '<svg onload=\"harmed = true\"><script>harmed = true</script></svg>', "
        "'image/svg+xml'))"
    )
    names = ["<img src=x onerror='harmed = true'>.txt", "atxt.exe", "a.svg"]
    await shows(page, PENDING, names)
    await page.wait_for(READ)
    await ask(page, "Look")
    await shows(page, ATTACHED, names)
    assert (
        await page.evaluate("document.querySelectorAll('.question img, .question svg').length") == 0
    )
    assert not await page.evaluate("harmed")
    assert page.problems == []


async def test_files_stay_when_the_server_refuses_and_leave_when_they_are_removed(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site.url)
    await page.evaluate("paste(textFile('a.txt', 'a'), textFile('b.txt', 'b'))")
    await page.wait_for(f"{PENDING}.length === 2 && {READ}")
    await page.evaluate(f"{BOX}.focus()")
    await page.type("gpt chat -m " + "m" * 201 + " Hi")
    await page.press("Enter", 13)
    await page.wait_for(f"{PROBLEM}.startsWith('model')")
    await shows(page, PENDING, ["a.txt", "b.txt"])
    await page.evaluate("document.querySelector('[aria-label=\"Remove a.txt\"]').focus()")
    await page.press("Enter", 13)
    await shows(page, "document.activeElement.ariaLabel", "Remove b.txt")
    await page.press("Enter", 13)
    await shows(page, "document.activeElement.id", "message")
    assert await page.evaluate("document.getElementById('attachments').hidden")


async def test_text_copied_from_an_office_program_is_pasted_as_text(
    browser: Browser, site: Site
) -> None:
    page = await opened(browser, site.url)
    await page.evaluate(
        "picture('image.png', 9, 9).then((file) => { const data = carrying(file); "
        "data.setData('text/plain', 'cell'); data.setData('text/html', '<b>cell</b>'); "
        "window.isTaken = !document.getElementById('message').dispatchEvent(new ClipboardEvent("
        "'paste', {clipboardData: data, bubbles: true, cancelable: true})) })"
    )
    await page.wait_for("window.isTaken === false")
    assert await page.evaluate(PENDING) == []


async def test_a_composed_word_is_sent_with_its_attachment(browser: Browser, site: Site) -> None:
    page = await opened(browser, site.url)
    await page.evaluate(f"{BOX}.focus()")
    await page.command("Input.imeSetComposition", text="ni", selectionStart=2, selectionEnd=2)
    await page.evaluate("paste(textFile('a.txt', 'a'))")
    await page.wait_for(f"{PENDING}.length === 1 && {READ}")
    await page.type("你好")
    assert await page.evaluate(QUESTIONS) == []
    await page.press("Enter", 13)
    await shows(page, QUESTIONS, ["你好"])
    await shows(page, ATTACHED, ["a.txt"])


async def test_a_phone_shows_attachments_with_large_buttons_and_axe_finds_nothing(
    browser: Browser, site: Site, tmp_path: Path
) -> None:
    axe = (installed(tmp_path, "axe") / "node_modules/axe-core/axe.min.js").read_text()
    for dark in (False, True):
        page = await opened(browser, site.url, width=320, height=640, dark=dark)
        await page.evaluate(
            "picture('a-photo-with-a-very-long-name-of-a-phone.png', 90, 60).then((file) => "
            f"{{ paste(file, textFile('{'n' * 90}.txt', 'x')) }})"
        )
        await page.wait_for(f"{PENDING}.length === 2 && {READ}")
        small = (
            "[...document.querySelectorAll('footer button')].filter((one) => one.checkVisibility() "
            "&& Math.min(one.offsetWidth, one.offsetHeight) < 44).map(({id}) => id)"
        )
        assert await page.evaluate(small) == []
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await page.evaluate(axe)
        assert await findings(page) == []
        await ask(page, "What is this?")
        await shows(page, PICTURES, [90])
        assert await findings(page) == []
        feed = "document.getElementById('feed')"
        assert await page.evaluate(f"{feed}.scrollWidth - {feed}.clientWidth") == 0
