"""A made-up contract worth a signature: two pages in Slovene, with the signer's name in it."""

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from sandbox.clock import Clock
from sandbox.pdf import A4, Font, Page, document, width, wrap
from sandbox.people import Person

_LEFT, _RIGHT, _TOP, _BOTTOM = 68.0, A4[0] - 68.0, A4[1] - 72.0, 84.0
_SIZE, _LEADING = 10.5, 15.2
_TEXT = Path(__file__).with_name("contract.txt")
_TITLE = "Najemna pogodba za stanovanje"
_LANDLORD = "Hiša na Bregu, upravljanje nepremičnin, d. o. o., Čevljarska ulica 7, 1000 Ljubljana"

_CHARGES = (
    ("Mesečna najemnina", "640,00 €"),
    ("Mesečni pavšal za obratovalne stroške", "95,00 €"),
    ("Parkirno mesto", "35,00 €"),
    ("Skupaj na mesec", "770,00 €"),
)


def make_contract(signer: Person, clock: Clock) -> bytes:
    """The contract as a PDF, dated today, with `signer` as the tenant."""
    today = clock.now().date()
    sheet = _Sheet()
    _opening(sheet, signer, today)
    _articles(sheet)
    _signatures(sheet, signer, today)
    pages = sheet.finish()
    return document(pages, title=f"{_TITLE} – {signer.name}", author="Hiša na Bregu", created=clock.now())


def _opening(sheet: "_Sheet", signer: Person, today: date) -> None:
    sheet.write(f"Št. 14/{today.year}", size=9)
    sheet.skip(10)
    sheet.write(_TITLE, Font.BOLD, 19)
    sheet.skip(16)
    sheet.write("ki jo skleneta")
    sheet.skip(4)
    sheet.write(f"{_LANDLORD}, kot najemodajalec,")
    sheet.skip(4)
    sheet.write("in")
    sheet.skip(4)
    born = date.fromisoformat(signer.date_of_birth)
    sheet.write(f"{signer.name}, datum rojstva {_written(born)}, davčna številka {signer.tax_number}, kot najemnik.")
    sheet.skip(3)


def _articles(sheet: "_Sheet") -> None:
    """Writes `contract.txt`: blocks between blank lines are headings (#), paragraphs, or the price list."""
    number = 0
    for block in _TEXT.read_text(encoding="utf-8").split("\n\n"):
        if block.startswith("# "):
            number += 1
            sheet.skip(7)
            sheet.keep(4)
            sheet.write(f"{number}. člen – {block.removeprefix('# ')}", Font.BOLD, 11.5)
            sheet.skip(3)
        elif block == "{charges}":
            _charges(sheet)
        else:
            sheet.write(block)
            sheet.skip(4)


def _charges(sheet: "_Sheet") -> None:
    sheet.keep(len(_CHARGES) + 1)
    for position, (what, amount) in enumerate(_CHARGES):
        last = position == len(_CHARGES) - 1
        sheet.row(what, amount, Font.BOLD if last else Font.REGULAR)
    sheet.skip(6)


def _signatures(sheet: "_Sheet", signer: Person, today: date) -> None:
    sheet.keep(7)
    sheet.skip(14)
    sheet.write(f"V Ljubljani, {_written(today)}")
    sheet.skip(40)
    sheet.columns("Najemodajalec", "Najemnik", ruled=True)
    sheet.columns("Hiša na Bregu, d. o. o.", signer.name)


@dataclass
class _Sheet:
    """Writes from top to bottom and begins a new page where the last one is full."""

    pages: list[Page] = field(default_factory=lambda: [Page()])
    y: float = _TOP

    def write(self, text: str, font: Font = Font.REGULAR, size: float = _SIZE) -> None:
        """A paragraph, wrapped to the width of the page."""
        for line in wrap(text, font, size, _RIGHT - _LEFT):
            self._need(_LEADING)
            self.pages[-1].text(_LEFT, self.y - size, line, font, size)
            self.y -= max(_LEADING, size * 1.3)

    def row(self, left: str, right: str, font: Font) -> None:
        """A line of a price list: words on the left, an amount flush right, a rule below."""
        page = self.pages[-1]
        page.text(_LEFT + 6, self.y - _SIZE, left, font, _SIZE)
        page.text(_RIGHT - 6 - width(right, font, _SIZE), self.y - _SIZE, right, font, _SIZE)
        page.line(_LEFT, self.y - _SIZE - 5, _RIGHT, thickness=0.4)
        self.y -= _LEADING + 4

    def columns(self, left: str, right: str, *, ruled: bool = False) -> None:
        """Two short lines side by side, with room to sign above them where `ruled`."""
        middle = (_LEFT + _RIGHT) / 2 + 12
        for x, end, text in ((_LEFT, middle - 24, left), (middle, _RIGHT, right)):
            if ruled:
                self.pages[-1].line(x, self.y, end)
            self.pages[-1].text(x, self.y - _SIZE - 3, text, size=_SIZE)
        self.y -= _LEADING

    def skip(self, points: float) -> None:
        self.y -= points

    def keep(self, lines: int) -> None:
        """Begins a new page unless so many lines still fit on this one."""
        self._need(lines * _LEADING)

    def finish(self) -> list[Page]:
        """The pages with their feet."""
        for number, page in enumerate(self.pages, 1):
            page.line(_LEFT, _BOTTOM - 26, _RIGHT, thickness=0.4)
            page.text(
                _LEFT, _BOTTOM - 40, "Izmišljena pogodba za preizkus; stranki in stanovanje ne obstajajo.", size=8
            )
            count = f"Stran {number} od {len(self.pages)}"
            page.text(_RIGHT - width(count, Font.REGULAR, 8), _BOTTOM - 40, count, size=8)
        return self.pages

    def _need(self, points: float) -> None:
        if self.y - points < _BOTTOM:
            self.pages.append(Page())
            self.y = _TOP


def _written(day: date) -> str:
    return f"{day.day}. {day.month}. {day.year}"
