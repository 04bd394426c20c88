"""The made-up contract: a sound PDF whose Slovene letters can be seen and searched."""

import io
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pypdfium2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyhanko.pdf_utils.reader import PdfFileReader

from sandbox.contract import make_contract
from sandbox.pdf import Font, Page, document, width, wrap
from sandbox.people import Person
from tsp.core.clock import SettableClock

STILL = SettableClock(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))
SIGNER = Person(
    "Črt",
    "Žnidaršič",
    "50223054",
    "1985-06-15",
    "+38641123456",
    "crt@posta.example",
    "identity-card",
    "IE1234567",
)


@pytest.fixture
def contract(clock: SettableClock) -> bytes:
    return make_contract(SIGNER, clock)


def test_the_contract_has_two_pages_and_the_signers_name(contract: bytes) -> None:
    reader = PdfFileReader(io.BytesIO(contract), strict=True)
    assert int(reader.root["/Pages"]["/Count"]) == 2
    assert str(reader.trailer["/Info"]["/Title"]) == "Najemna pogodba za stanovanje – Črt Žnidaršič"
    with pypdfium2.PdfDocument(contract) as opened:
        text = "\n".join(page.get_textpage().get_text_range() for page in opened)
    for words in ("Črt Žnidaršič, datum rojstva 15. 6. 1985", "9. člen – Končne določbe", "770,00 €", "Stran 2 od 2"):
        assert words in text


def test_other_readers_find_the_same_words(contract: bytes, tmp_path: Path) -> None:
    file = tmp_path / "contract.pdf"
    file.write_bytes(contract)
    text = subprocess.run(["pdftotext", "-layout", file, "-"], capture_output=True, text=True, check=True)
    assert text.stderr == ""
    assert "Črt Žnidaršič, datum rojstva" in text.stdout
    assert "Čevljarska ulica 7" in text.stdout


@pytest.mark.parametrize("letter", "čČšž€–")
def test_every_letter_leaves_ink_where_it_stands(clock: SettableClock, letter: str) -> None:
    """Also with a renderer whose built-in font has no glyph for č."""

    def ink(text: str) -> int:
        page = Page()
        page.text(50, 400, text, size=200)
        content = document([page], title="x", author="y", created=clock.now())
        with pypdfium2.PdfDocument(content) as opened:
            return sum(1 for value in opened[0].render(grayscale=True).to_pil().tobytes() if value < 128)

    assert ink(letter) > 500
    if letter in "čČ":
        assert ink(letter) > ink(letter.translate({ord("č"): "c", ord("Č"): "C"})) + 50


def test_lines_keep_to_their_width() -> None:
    text = "Najemnik plačuje najemodajalcu zneske iz spodnje preglednice na račun, ki ga ta navede na položnici."
    lines = wrap(text, Font.BOLD, 11, 200)
    assert len(lines) > 2
    assert " ".join(lines) == text
    assert all(width(line, Font.BOLD, 11) <= 200 for line in lines)
    assert wrap("nerazdružljivo", Font.REGULAR, 11, 5) == ["nerazdružljivo"]


def test_letters_without_a_glyph_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot show 'ы'"):
        width("ы", Font.REGULAR, 11)


@given(st.text(alphabet="ačČšž()\\ <>%€²", max_size=40))
def test_any_text_makes_a_sound_file(text: str) -> None:
    page = Page()
    page.text(50, 400, text)
    content = document([page], title=text, author="", created=STILL.now())
    assert str(PdfFileReader(io.BytesIO(content), strict=True).trailer["/Info"]["/Title"]) == text
    with pypdfium2.PdfDocument(content) as opened:
        shown = opened[0].get_textpage().get_text_range()
    assert "".join(shown.split()) == "".join(text.split())
