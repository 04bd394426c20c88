"""A walk through every object that a PDF file uses, for what could make it look different from what was signed.

Runs inside the isolated process, once, when a document is brought. The rules and their reasons stand
in docs/documents.md; clauses here are those of ISO 32000-2.
"""
# mypy: disallow-untyped-calls=False
# (pyHanko's annotations have gaps.)

import itertools
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.reader import PdfFileReader

from tsp.core.errors import Invalid
from tsp.formats.findings import Attachment, Finding, Survey
from tsp.formats.pdf_file import READ_ERRORS, damaged, form_fields, members, name_of, value_of
from tsp.formats.pdf_update import looks_are_settled

#: Deepest nesting of direct objects that is followed; no producer comes near it.
_MAX_DEPTH = 100
#: What all compressed streams of a document but its pictures may hold, in octets.
_MAX_UNPACKED = 256 * 1024**2
#: Pixels of one picture; a page of A0 in 600 dpi has 550 million.
_MAX_PICTURE = 600_000_000
#: So many files and addresses are listed, with so many characters each.
_MAX_LISTED, _MAX_TEXT = 100, 300

#: Actions that reach beyond the page (12.6.4). Links and page moves do not; of the rest none is expected.
_ACTIONS = frozenset(
    f"/{name}"
    for name in (
        *("Launch", "GoToR", "GoToE", "GoTo3DView", "SubmitForm", "ResetForm", "ImportData", "Hide"),
        *("SetOCGState", "Rendition", "RichMediaExecute", "Movie", "Sound", "Trans", "Thread"),
    )
)
#: What a document may do by itself, when it is opened or a pointer moves.
_MOVES = frozenset(("/GoTo", "/Named"))
_MULTIMEDIA = frozenset(("/RichMedia", "/Movie", "/Sound", "/Screen", "/3D"))
#: Annotations that show nothing of their own: links, and the windows of notes.
_SILENT = frozenset(("/Link", "/Popup"))
_FONTS = frozenset(("/Type1", "/MMType1", "/TrueType", "/CIDFontType0", "/CIDFontType2"))
#: The fonts that every viewer brings along (ISO 32000-1, 9.6.2.2).
_STANDARD_FONTS = frozenset(
    (
        *(f"/Courier{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
        *(f"/Helvetica{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
        *(f"/Times-{style}" for style in ("Roman", "Bold", "Italic", "BoldItalic")),
        *("/Symbol", "/ZapfDingbats"),
    )
)
#: Annotation flags (table 167).
_INVISIBLE, _HIDDEN, _NO_VIEW = 1, 2, 32


def survey(reader: PdfFileReader) -> Survey:
    """Reads every object that can be reached from the trailer.

    Raises `Invalid`: document-damaged where one cannot be read, document-too-complex where a stream
    or a picture swells up.
    """
    found = Survey()
    room = _MAX_UNPACKED
    try:
        for dictionary in _dictionaries(reader):
            _look_at_actions(dictionary, found)
            _look_at_files(dictionary, found)
            _look_at_font(dictionary, found)
            if name_of(dictionary, "/Type") == "/OCMD" and _shows_when_off(dictionary):
                found.findings.add(Finding.HIDDEN_LAYERS)
            if "/Rect" in dictionary and name_of(dictionary, "/Type") in ("/Annot", None):
                _look_at_annotation(dictionary, found)
            if isinstance(dictionary, generic.StreamObject):
                _look_at_stream(dictionary, found)
                room = _unpack(dictionary, room)
        _look_at_layers(reader.root, found)
        _look_at_form(reader.root, found)
        _look_at_rest(reader.root, found)
    except READ_ERRORS as error:
        raise damaged(error) from error
    return found


def _dictionaries(reader: PdfFileReader) -> Iterator[generic.DictionaryObject]:
    """Each dictionary (a stream's too) that is reachable from the trailer, once."""
    seen: set[tuple[int, int]] = set()
    waiting: list[tuple[Any, int]] = [
        (reader.trailer.raw_get(key), 0) for key in ("/Root", "/Info") if key in reader.trailer
    ]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, generic.IndirectObject):
            place = (value.idnum, value.generation)
            if place in seen or reader.xrefs[value.reference] is None:
                continue  # a reference to nothing is null (7.3.10)
            seen.add(place)
            value, depth = value.get_object(), 0
        if depth > _MAX_DEPTH:
            raise PdfError("nested too deeply")
        if isinstance(value, generic.DictionaryObject):
            yield value
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, generic.ArrayObject):
            waiting += [(inner, depth + 1) for inner in list.__iter__(value)]


def _look_at_actions(dictionary: generic.DictionaryObject, found: Survey) -> None:
    """Actions (12.6), wherever they hang, and what starts by itself: /OpenAction and /AA."""
    action = name_of(dictionary, "/S")
    if action == "/JavaScript" or "/JS" in dictionary or "/JavaScript" in dictionary:
        found.findings.add(Finding.JAVASCRIPT)
    elif action in _ACTIONS and name_of(dictionary, "/Type") in ("/Action", None) and "/K" not in dictionary:
        found.findings.add(Finding.ACTIONS)
    elif action == "/URI" and "/URI" in dictionary:
        found.findings.add(Finding.LINKS)
        _list(found.addresses, _text(value_of(dictionary, "/URI")))
    triggers = value_of(dictionary, "/AA")
    started = list(triggers) if isinstance(triggers, generic.DictionaryObject) else []
    actions = [value_of(triggers, key) for key in started] + [value_of(dictionary, "/OpenAction")]
    if any(isinstance(a, generic.DictionaryObject) and name_of(a, "/S") not in _MOVES for a in actions):
        found.findings.add(Finding.ACTIONS)


def _look_at_files(dictionary: generic.DictionaryObject, found: Survey) -> None:
    """Embedded files (7.11.4), in the name tree, at annotations or anywhere else."""
    if name_of(dictionary, "/Type") == "/EmbeddedFile":
        found.findings.add(Finding.EMBEDDED_FILES)
    embedded = value_of(dictionary, "/EF")
    if embedded is None:
        return
    found.findings.add(Finding.EMBEDDED_FILES)
    size = None
    if isinstance(embedded, generic.DictionaryObject):
        streams = (value_of(embedded, key) for key in ("/UF", "/F"))
        for stream in (s for s in streams if isinstance(s, generic.StreamObject)):
            parameters = value_of(stream, "/Params")
            said = value_of(parameters, "/Size") if isinstance(parameters, generic.DictionaryObject) else None
            size = int(said) if isinstance(said, int) and 0 <= said < 2**63 else None
    name = _text(value_of(dictionary, "/UF")) or _text(value_of(dictionary, "/F"))
    _list(found.files, Attachment(name, size))


def _look_at_font(dictionary: generic.DictionaryObject, found: Survey) -> None:
    """A font whose letters are not in the file (9.9)."""
    if name_of(dictionary, "/Type") != "/Font" or name_of(dictionary, "/Subtype") not in _FONTS:
        return
    descriptor = value_of(dictionary, "/FontDescriptor")
    here = isinstance(descriptor, generic.DictionaryObject) and any(
        value_of(descriptor, key) is not None for key in ("/FontFile", "/FontFile2", "/FontFile3")
    )
    if not here and name_of(dictionary, "/BaseFont") not in _STANDARD_FONTS:
        found.findings.add(Finding.FONTS_MISSING)


def _look_at_annotation(annotation: generic.DictionaryObject, found: Survey) -> None:
    """What stands on a page without being of it (12.5), and whether it hides."""
    kind = name_of(annotation, "/Subtype")
    if kind is None or kind in _SILENT:
        return
    if kind in _MULTIMEDIA:
        found.findings.add(Finding.MULTIMEDIA)
    elif kind != "/Widget":
        found.findings.add(Finding.ANNOTATIONS)
    flags = value_of(annotation, "/F")
    hides = isinstance(flags, int) and flags & (_INVISIBLE | _HIDDEN | _NO_VIEW)
    if hides and _takes_room(annotation) and not (kind == "/Widget" and "/AP" not in annotation):
        found.findings.add(Finding.HIDDEN_CONTENT)


def _takes_room(annotation: generic.DictionaryObject) -> bool:
    sides = [float(side) for side in members(annotation, "/Rect")]
    return len(sides) == 4 and sides[0] != sides[2] and sides[1] != sides[3]


def _look_at_stream(stream: generic.StreamObject, found: Survey) -> None:
    """Content that comes from elsewhere, or has another version for the printer."""
    kind = name_of(stream, "/Subtype")
    if any(key in stream for key in ("/F", "/Ref", "/OPI")):
        found.findings.add(Finding.EXTERNAL_CONTENT)
    if "/Alternates" in stream or "/PS" in (kind, name_of(stream, "/Subtype2")):
        found.findings.add(Finding.PRINTS_DIFFERENTLY)
    if kind == "/Image":
        width, height = value_of(stream, "/Width"), value_of(stream, "/Height")
        if isinstance(width, int) and isinstance(height, int) and width * height > _MAX_PICTURE:
            raise _too_complex("picture")


def _unpack(stream: generic.StreamObject, room: int) -> int:
    """Unpacks a compressed stream, piece by piece, within the `room` left; what is left then.

    A stream that cannot be unpacked to its end is drawn by each viewer as far as it likes, so it
    raises `zlib.error`. Pictures are left to the drawing of their page.
    """
    if name_of(stream, "/Subtype") == "/Image":
        return room
    named = value_of(stream, "/Filter")
    filters = list(named) if isinstance(named, generic.ArrayObject) else [named]
    pieces: Iterable[bytes] = [stream.encoded_data]
    for _ in itertools.takewhile(lambda name: name in ("/FlateDecode", "/Fl"), filters):
        pieces = _inflate(pieces)
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise _too_complex("stream")
    return room


def _inflate(packed: Iterable[bytes]) -> Iterator[bytes]:
    """One layer of compression, in pieces of at most a mebibyte."""
    unpacker = zlib.decompressobj()
    for piece in packed:
        rest = piece
        while rest and not unpacker.eof:
            yield unpacker.decompress(rest, 1 << 20)
            rest = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise zlib.error("ends early")


def _look_at_layers(root: generic.DictionaryObject, found: Survey) -> None:
    """Optional content (8.11): fit for a signature only where all of it is shown, always."""
    layers = value_of(root, "/OCProperties")
    if not isinstance(layers, generic.DictionaryObject) or not members(layers, "/OCGs"):
        return
    found.findings.add(Finding.LAYERS)
    shown = value_of(layers, "/D")
    if not isinstance(shown, generic.DictionaryObject):
        return
    hidden = members(shown, "/OFF") or name_of(shown, "/BaseState") not in ("/ON", None)
    rules = [rule.get_object() for rule in members(shown, "/AS")]
    if hidden or any(isinstance(rule, generic.DictionaryObject) and _switches(rule) for rule in rules):
        found.findings.add(Finding.HIDDEN_LAYERS)


def _shows_when_off(membership: generic.DictionaryObject) -> bool:
    """Whether a membership (8.11.2.2) can show something when layers are switched off."""
    return "/VE" in membership or name_of(membership, "/P") in ("/AnyOff", "/AllOff")


def _switches(rule: generic.DictionaryObject) -> bool:
    """Whether a usage application (table 101) switches a layer off, for screen or printer, zoom or language."""
    for group in (member.get_object() for member in members(rule, "/OCGs")):
        usage = value_of(group, "/Usage") if isinstance(group, generic.DictionaryObject) else None
        if not isinstance(usage, generic.DictionaryObject):
            continue
        for category in (str(name) for name in members(rule, "/Category")):
            asked = value_of(usage, category)
            if not isinstance(asked, generic.DictionaryObject):
                continue
            if category not in ("/View", "/Print", "/Export") or name_of(asked, f"{category}State") == "/OFF":
                return True
    return False


def _look_at_form(root: generic.DictionaryObject, found: Survey) -> None:
    """Form fields (12.7), which must look as they will look."""
    form = value_of(root, "/AcroForm")
    if not isinstance(form, generic.DictionaryObject):
        return
    if "/XFA" in form:
        found.findings.add(Finding.XFA)
    fields = list(form_fields(form))
    plain = [f for f in fields if name_of(f, "/FT") not in ("/Sig", None)]
    if plain:
        found.findings.add(Finding.FORM)
    if any("/V" in f and name_of(f, "/FT") == "/Sig" for f in fields):
        found.findings.add(Finding.SIGNED)
    drawn_anew = value_of(form, "/NeedAppearances") is not None and bool(value_of(form, "/NeedAppearances"))
    if plain and ((drawn_anew and not looks_are_settled(form)) or any(_has_value_only(f) for f in plain)):
        found.findings.add(Finding.UNSETTLED_FORM)


def _has_value_only(field: generic.DictionaryObject) -> bool:
    """A field with a value and no look: some viewers draw the value, others nothing."""
    is_widget = name_of(field, "/Subtype") == "/Widget"
    return is_widget and "/AP" not in field and _takes_room(field) and value_of(field, "/V") not in (None, "", "/Off")


def _look_at_rest(root: generic.DictionaryObject, found: Survey) -> None:
    """What else the catalog says: portfolios, presentations, rights."""
    if "/Collection" in root:
        found.findings.add(Finding.PORTFOLIO)
    names, permissions = value_of(root, "/Names"), value_of(root, "/Perms")
    if isinstance(names, generic.DictionaryObject) and ("/AlternatePresentations" in names or "/Renditions" in names):
        found.findings.add(Finding.MULTIMEDIA)
    if isinstance(permissions, generic.DictionaryObject) and ("/UR3" in permissions or "/UR" in permissions):
        found.findings.add(Finding.USAGE_RIGHTS)


def _list(listed: set[Any], value: Any) -> None:
    if value and len(listed) < _MAX_LISTED:
        listed.add(value)


def _text(value: Any) -> str:
    """A string of the document, cut; empty for anything else."""
    if isinstance(value, generic.ByteStringObject):
        return bytes(value).decode("latin-1")[:_MAX_TEXT]
    return str(value)[:_MAX_TEXT] if isinstance(value, generic.TextStringObject) else ""


def _too_complex(what: str) -> Invalid:
    return Invalid(
        "document-too-complex",
        "This document could not be processed. Save it anew as a plain PDF and try again.",
        reason=what,
    )
