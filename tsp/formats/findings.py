"""What is found in a document that is to be signed: what refuses it, and what its signer is told.

The rule behind both: what is signed is what was seen, now and in every viewer (docs/documents.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tsp.core.errors import Invalid


class Finding(StrEnum):
    """Stable codes; `sentence` has the words (English, the key of the catalogues)."""

    ACTIONS = "actions"
    ANNOTATIONS = "annotations"
    EMBEDDED_FILES = "embedded-files"
    EXTERNAL_CONTENT = "external-content"
    FONTS_MISSING = "fonts-missing"
    FORM = "form"
    HIDDEN_CONTENT = "hidden-content"
    HIDDEN_LAYERS = "hidden-layers"
    JAVASCRIPT = "javascript"
    LAYERS = "layers"
    LINKS = "links"
    MULTIMEDIA = "multimedia"
    PORTFOLIO = "portfolio"
    PRINTS_DIFFERENTLY = "prints-differently"
    SIGNED = "signed"
    UNSETTLED_FORM = "unsettled-form"
    USAGE_RIGHTS = "usage-rights"
    XFA = "xfa"

    @property
    def sentence(self) -> str:
        return _REFUSALS.get(self) or _REMARKS[self]

    @property
    def is_refused(self) -> bool:
        """Whether a document with it cannot be signed, whatever the operator chose."""
        return self in _REFUSALS


_PRINT = "Print it to a PDF file and sign that."
#: The code of each refusal is `document-<finding>`. Where several apply, the first of these is told.
_REFUSALS = {
    Finding.XFA: f"This PDF is an XFA form, which looks different in every viewer. {_PRINT}",
    Finding.PORTFOLIO: "This PDF is a portfolio: its content is in attached files. Sign those files one by one.",
    Finding.JAVASCRIPT: f"This PDF contains program code (JavaScript) that can change what is shown. {_PRINT}",
    Finding.ACTIONS: f"This PDF starts actions, such as opening files or sending data. {_PRINT}",
    Finding.MULTIMEDIA: "This PDF contains sound, video or 3D content. Save it without and sign that.",
    Finding.EXTERNAL_CONTENT: f"Parts of this PDF come from outside the file, where they can change. {_PRINT}",
    Finding.PRINTS_DIFFERENTLY: f"This PDF looks different on paper than on the screen. {_PRINT}",
    Finding.HIDDEN_LAYERS: f"This PDF has layers that are hidden now or that a viewer switches. {_PRINT}",
    Finding.HIDDEN_CONTENT: f"This PDF has hidden fields or notes that a viewer could show. {_PRINT}",
    Finding.UNSETTLED_FORM: f"This PDF form leaves it to the viewer how its fields look. {_PRINT}",
}
_REMARKS = {
    Finding.ANNOTATIONS: "The document has notes or marks on its pages. Some viewers or printers leave them out.",
    Finding.EMBEDDED_FILES: "Files are attached to the document. They are signed with it, but not shown here.",
    Finding.FONTS_MISSING: "Some fonts are not in the file. Other viewers may show the letters in another shape.",
    Finding.FORM: "The document has form fields. Whoever fills them in later does so after your signature.",
    Finding.LAYERS: "The document has layers that a viewer may show or hide.",
    Finding.LINKS: "The document has links to addresses on the web. What is behind them is not signed.",
    Finding.SIGNED: "The document is already signed. Earlier signatures stay valid.",
    Finding.USAGE_RIGHTS: "The document grants rights in Adobe's programs. They may end with your signature.",
}


@dataclass(frozen=True)
class Attachment:
    """A file inside the document, by the name that the document gives it (unchecked), and its octets if said."""

    name: str
    size: int | None


@dataclass
class Survey:
    """What a walk through every object that the document uses has found; files and addresses each once."""

    findings: set[Finding] = field(default_factory=set)
    files: set[Attachment] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)

    def refuse(self) -> None:
        """Raises `Invalid` (document-<finding>) where something found makes the document unfit for a signature."""
        for finding in _REFUSALS:
            if finding in self.findings:
                raise Invalid(f"document-{finding}", finding.sentence)


class FilesAttached(Invalid):
    """document-embedded-files: this installation signs no document with files in it; `attachments` for its owner."""

    def __init__(self, attachments: Sequence[Attachment]) -> None:
        super().__init__(
            "document-embedded-files",
            "Files are attached to this PDF that a signature would cover unseen. Save it without them and sign that.",
            count=len(attachments),
        )
        self.attachments = tuple(attachments)
