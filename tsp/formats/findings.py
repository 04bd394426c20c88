"""What a signer is told of a document before signing: nothing here stops a signature."""

from enum import StrEnum


class Finding(StrEnum):
    """Stable codes; `sentence` has the words (English, the key of the catalogues)."""

    ACTIONS = "actions"
    EMBEDDED_FILES = "embedded-files"
    EXTERNAL_CONTENT = "external-content"
    FORM = "form"
    JAVASCRIPT = "javascript"
    LAYERS = "layers"
    MULTIMEDIA = "multimedia"
    PORTFOLIO = "portfolio"
    SIGNED = "signed"

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Finding.ACTIONS: "The document starts actions, such as opening other files or sending data.",
    Finding.EMBEDDED_FILES: "Files are attached to the document. They are signed with it, but not shown here.",
    Finding.EXTERNAL_CONTENT: "Parts of the document come from outside the file. They are not covered by a signature.",
    Finding.FORM: "The document has form fields. Whoever fills them in later does so after your signature.",
    Finding.JAVASCRIPT: "The document contains program code (JavaScript) that may change what a viewer shows.",
    Finding.LAYERS: "The document has layers that a viewer may show or hide.",
    Finding.MULTIMEDIA: "The document contains sound, video or 3D content that is not shown here.",
    Finding.PORTFOLIO: "The document is a portfolio: its content is in the attached files.",
    Finding.SIGNED: "The document is already signed. Earlier signatures stay valid.",
}
