"""A page as a person without JavaScript meets it: its words, its links, its forms.

Forms follow the HTML standard's "form submission" (WHATWG HTML, 4.10.21) as far as pages of this
kind use it, and like a browser they refuse to send what a required field is missing from.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin

import lxml.html
from lxml.etree import ParserError
from lxml.etree import _Element as Element

#: Where pages say what went wrong: announced notices and the sentence beside a field.
_ERRORS = "//*[@role='alert' or contains(concat(' ', normalize-space(@class), ' '), ' error ')]"
_INLINE = frozenset(
    ("a", "abbr", "b", "bdi", "code", "em", "i", "mark", "output", "span", "strong", "sub", "sup", "time")
)
_UNREAD = frozenset(("script", "style", "template"))
_UNSENT_TYPES = ("submit", "button", "image", "reset", "file")


class PageError(Exception):
    """The page is not what was expected; the message shows where we are and what the page says."""


@dataclass(frozen=True)
class Upload:
    """A file for a file field."""

    name: str
    content: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Submission:
    """What a form would send: `method`, absolute `url`, fields in page order, files by field."""

    method: str
    url: str
    fields: list[tuple[str, str]]
    files: dict[str, Upload]
    multipart: bool


class Page:
    """One answered HTML page."""

    def __init__(self, url: str, status: int, html: bytes, policy: str = "") -> None:
        self.url = url
        self.status = status
        #: The Content-Security-Policy it came with.
        self.policy = policy
        self._tree = _parse(html)

    @property
    def name(self) -> str:
        """The page's own name (`data-page` of its body), empty where it has none."""
        return "".join(self._strings("//body/@data-page"))

    @property
    def heading(self) -> str:
        return _words(self.elements("//h1"))

    @property
    def errors(self) -> list[str]:
        """The sentences by which the page says what went wrong."""
        found = [_words([element]) for element in self.elements(_ERRORS)]
        return [text for text in dict.fromkeys(found) if text]

    def elements(self, path: str) -> list[Element]:
        """The elements that an XPath finds, in page order."""
        found = self._tree.xpath(path)
        return [one for one in found if isinstance(one, Element)] if isinstance(found, list) else []

    def text(self, identifier: str) -> str:
        """The words of the element with this id; `PageError` where there is none."""
        elements = [one for one in self.elements("//*[@id]") if one.get("id") == identifier]
        if not elements:
            raise PageError(self.describe(f"no element has the id {identifier}"))
        return _words(elements)

    def words(self) -> str:
        """Everything that the page says in its main part."""
        return _words(self.elements("//main") or self.elements("//body"))

    def links(self, containing: str = "") -> list[str]:
        """Absolute addresses of the links whose address holds `containing`."""
        return [self.absolute(link) for link in self._strings("//a/@href") if containing in link]

    def images(self) -> list[str]:
        """Absolute addresses of the pictures on the page."""
        return [self.absolute(source) for source in self._strings("//img/@src")]

    def absolute(self, reference: str) -> str:
        return urljoin(self.url, reference)

    def forms(self) -> list["Form"]:
        return [Form(self, element) for element in self.elements("//form")]

    def has_form(self, *names: str) -> bool:
        """Whether some form has fields or buttons of all these names."""
        return any(set(names) <= form.names for form in self.forms())

    def form(self, *names: str) -> "Form":
        """The first form that has fields or buttons of all these names; `PageError` where there is none."""
        for form in self.forms():
            if set(names) <= form.names:
                return form
        offered = "; ".join(", ".join(sorted(form.names)) for form in self.forms()) or "none"
        raise PageError(self.describe(f"no form has {', '.join(names) or 'fields'} (forms here: {offered})"))

    def expect(self, *names: str) -> "Page":
        """This page if it is one of these (by `data-page`); `PageError` that shows its errors otherwise."""
        if self.name not in names:
            raise PageError(self.describe(f"expected {' or '.join(names)}"))
        return self

    def describe(self, problem: str) -> str:
        """`problem` with all that a reader needs to see what happened."""
        said = " | ".join(self.errors) or self.words()[:300]
        return f"{problem}, but this is {self.name or 'a page without name'} ({self.url}, {self.status}): {said}"

    def _strings(self, path: str) -> list[str]:
        found = self._tree.xpath(path)
        return [str(one) for one in found if isinstance(one, str)] if isinstance(found, list) else []


@dataclass
class Form:
    """A form that can be filled in and taken apart into what a browser would send."""

    page: Page
    element: Element
    _values: dict[str, list[str]] = field(default_factory=dict)
    _files: dict[str, Upload] = field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """Names of its fields and buttons."""
        return {name for control in self._controls() if (name := control.get("name"))}

    def fill(self, **values: str | Upload | bool) -> "Form":
        """Sets fields by name: text, a ticked box (True/False), a radio's or select's value, a file.

        `PageError` where the form has no such field or the choice does not offer the value.
        """
        for name, value in values.items():
            controls = self._named(name)
            if isinstance(value, Upload):
                self._files[name] = value
            elif isinstance(value, bool):
                self._values[name] = [control.get("value", "on") for control in controls] if value else []
            else:
                offered = _choices(controls)
                if offered and value not in offered:
                    raise self._problem(f"{name} offers {', '.join(offered)}, not {value}")
                self._values[name] = [value]
        return self

    def choices(self, name: str) -> list[str]:
        """The values that a choice, or buttons of this name, offer."""
        controls = self._named(name)
        return _choices(controls) or [control.get("value", "") for control in controls]

    def submission(self, button: str = "", value: str | None = None) -> Submission:
        """What pressing the button of this name (and `value`) sends; without a name, the first button that has none.

        `PageError` where there is no such button, or a required field is empty.
        """
        pressed = self._button(button, value)
        checked = pressed is None or pressed.get("formnovalidate") is None
        if checked and self.element.get("novalidate") is None:
            self._check_required()
        fields = [pair for control in self._controls() for pair in self._sent(control)]
        if pressed is not None and button:
            fields.append((button, pressed.get("value", "")))
        action = (pressed.get("formaction") if pressed is not None else None) or self.element.get("action")
        return Submission(
            method=(self.element.get("method") or "get").upper(),
            url=self.page.absolute(action or self.page.url),
            fields=fields,
            files=self._files,
            multipart=(self.element.get("enctype") or "") == "multipart/form-data",
        )

    def _controls(self) -> Iterator[Element]:
        """Controls inside the form, and those elsewhere that name it in their `form` attribute; none disabled."""
        identifier = self.element.get("id")
        for control in self.page.elements("//input | //select | //textarea | //button"):
            if control.get("disabled") is not None or any(f.get("disabled") is not None for f in _fieldsets(control)):
                continue
            owner = control.get("form")
            inside = any(ancestor is self.element for ancestor in control.iterancestors("form"))
            if inside if owner is None else owner == identifier:
                yield control

    def _named(self, name: str) -> list[Element]:
        controls = [control for control in self._controls() if control.get("name") == name]
        if not controls:
            raise self._problem(f"the form has no field {name}")
        return controls

    def _button(self, name: str, value: str | None) -> Element | None:
        buttons = [one for one in self._controls() if _is_submit(one)]
        for one in buttons:
            if (one.get("name") or "") == name and value in (None, one.get("value", "")):
                return one
        if name or buttons:
            offered = ", ".join(f"{one.get('name') or '-'}={one.get('value', '')}" for one in buttons)
            raise self._problem(f"the form has no button {name or 'without name'} {value or ''} (buttons: {offered})")
        return None

    def _sent(self, control: Element) -> Iterator[tuple[str, str]]:
        name, kind = control.get("name"), _kind(control)
        if not name or kind in _UNSENT_TYPES:
            return
        if kind in ("checkbox", "radio"):
            own = control.get("value", "on")
            chosen = own in self._values[name] if name in self._values else control.get("checked") is not None
            if chosen:
                yield name, own
        else:
            yield name, self._value(control)

    def _value(self, control: Element) -> str:
        name = control.get("name") or ""
        if name in self._values:
            return "".join(self._values[name])
        if control.tag == "textarea":
            return control.text or ""
        if control.tag == "select":
            options = list(control.iter("option"))
            selected = [o for o in options if o.get("selected") is not None] or options[:1]
            return selected[0].get("value", selected[0].text or "") if selected else ""
        return control.get("value", "")

    def _check_required(self) -> None:
        sent = {name for control in self._controls() for name, value in self._sent(control) if value} | set(self._files)
        missing = [
            control.get("name")
            for control in self._controls()
            if control.get("required") is not None and control.get("name") not in sent
        ]
        if missing:
            raise self._problem(f"required fields are empty: {', '.join(dict.fromkeys(str(m) for m in missing))}")

    def _problem(self, text: str) -> PageError:
        return PageError(self.page.describe(text))


def _fieldsets(control: Element) -> Iterator[Element]:
    return control.iterancestors("fieldset")


def _kind(control: Element) -> str:
    if control.tag == "button":
        return (control.get("type") or "submit").lower()
    return (control.get("type") or "text").lower() if control.tag == "input" else str(control.tag)


def _is_submit(control: Element) -> bool:
    return _kind(control) in ("submit", "image") and control.tag in ("button", "input")


def _choices(controls: list[Element]) -> list[str]:
    if controls[0].tag == "select":
        return [option.get("value", option.text or "") for option in controls[0].iter("option")]
    if _kind(controls[0]) == "radio":
        return [control.get("value", "on") for control in controls]
    return []


def _parse(html: bytes) -> Element:
    parser = lxml.html.HTMLParser(encoding="utf-8")
    try:
        return lxml.html.document_fromstring(html, parser=parser)
    except ParserError:  # nothing that could be an element
        return lxml.html.document_fromstring("<html><body></body></html>")


def _words(elements: list[Element]) -> str:
    """The words as a reader sees them: blocks apart, inline elements joined as they stand."""
    return " ".join(" ".join("".join(_texts(element)) for element in elements).split())


def _texts(element: Element) -> Iterator[str]:
    if element.tag in _UNREAD or not isinstance(element.tag, str) or element.get("hidden") is not None:
        return
    gap = "" if element.tag in _INLINE else " "
    yield gap + (element.text or "")
    for child in element:
        yield from _texts(child)
        yield child.tail or ""
    yield gap
