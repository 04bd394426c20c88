"""Every hostile file gets its right answer in bounded time and memory, and the next document is served."""
# ruff: noqa: E501  (tables: one attack a line)

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign.fields import (
    FieldMDPAction,
    FieldMDPSpec,
    MDPPerm,
    SigFieldSpec,
    append_signature_field,
)

from tests.formats.hostile_samples import REFUSED, REMARKED
from tests.formats.pdf_samples import classic, form_field, hybrid, linearised, objects, updated, with_xref_stream
from tests.validate.pki import NOW, Pki, sign, sign_foreign
from tsp.core.errors import Invalid
from tsp.core.isolated import Isolated, IsolationLimits
from tsp.formats import pades
from tsp.validate.service import validate_pdf

pytestmark = pytest.mark.requirement("SIG-5", "SIG-7")


@pytest.fixture(scope="module")
def tight() -> Iterator[Isolated]:
    """A nursery whose children may use little processor time and memory: what does not end by itself is ended soon."""
    made = Isolated(IsolationLimits(seconds=60, processor_seconds=2, memory=1024**3))
    yield made
    made.close()


def answer(isolated: Isolated, pdf: bytes) -> str | frozenset[pades.Finding]:
    """The code of the refusal, or what the signer is told; the parent lives on in each case."""
    try:
        seen = pades.inspect(isolated, pdf)
    except Invalid as refusal:
        assert pades.inspect(isolated, classic()).pages == 1
        return refusal.code
    assert pades.render(isolated, pdf, 0, 200).startswith(b"\x89PNG")
    return frozenset(seen.findings)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_signed_is_refused(tight: Isolated, name: str) -> None:
    make, codes = REFUSED[name]
    assert answer(tight, make()) in ((codes,) if isinstance(codes, str) else codes)


@pytest.mark.parametrize("name", REMARKED)
def test_what_can_be_signed_is_shown_with_its_remarks(tight: Isolated, name: str) -> None:
    make, findings = REMARKED[name]
    assert answer(tight, make()) == findings


def test_every_finding_has_its_sample_and_its_row() -> None:
    policy = (Path(__file__).parents[2] / "docs" / "documents.md").read_text()
    codes = {code for _, codes in REFUSED.values() for code in ([codes] if isinstance(codes, str) else codes)}
    told = {finding for _, findings in REMARKED.values() for finding in findings}
    for finding in pades.Finding:
        assert f"| `{finding}` |" in policy
        if finding.is_refused:
            assert f"document-{finding}" in codes
        else:
            assert finding in told | {pades.Finding.SIGNED, pades.Finding.EMBEDDED_FILES}


def indications(isolated: Isolated, pki: Pki, pdf: bytes) -> list[str]:
    """What the validator (pyHanko's difference analysis in it) says of each signature."""
    trust = replace(pki.trust, crls=(pki.crl(pki.root, NOW), pki.crl(pki.issuing, NOW)))
    return [str(s.indication) for s in validate_pdf(pdf, trust, NOW, isolated).signatures]


FORM = classic(objects(catalog=b"/AcroForm 11 0 R", page=b"/Annots[10 0 R]", more=form_field(look=True)))


def locked_field(spec: FieldMDPSpec, permissions: MDPPerm | None = None) -> bytes:
    """A form with an empty signature field whose signing locks fields."""
    writer = IncrementalPdfFileWriter(io.BytesIO(FORM))
    field = SigFieldSpec("Podpis", field_mdp_spec=spec, doc_mdp_update_value=permissions)
    append_signature_field(writer, field)
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


OTHERS: dict[str, tuple[Callable[[Pki], bytes], str | None]] = {
    "certified, nothing may change": (lambda p: sign_foreign(FORM, p.ordinary(), certify=MDPPerm.NO_CHANGES), "document-forbids-signing"),
    "certified, forms": (lambda p: sign_foreign(FORM, p.ordinary(), certify=MDPPerm.FILL_FORMS), None),
    "certified, notes": (lambda p: sign_foreign(FORM, p.ordinary(), certify=MDPPerm.ANNOTATE), None),
    "signed": (lambda p: sign_foreign(FORM, p.ordinary()), None),
    "a field is locked": (lambda p: sign_foreign(locked_field(FieldMDPSpec(FieldMDPAction.INCLUDE, ["znesek"])), p.ordinary()), "document-forbids-signing"),
    "other fields are locked": (lambda p: sign_foreign(locked_field(FieldMDPSpec(FieldMDPAction.EXCLUDE, ["drugo"])), p.ordinary()), "document-forbids-signing"),
    "a field that is not there is locked": (lambda p: sign_foreign(locked_field(FieldMDPSpec(FieldMDPAction.INCLUDE, ["drugo"])), p.ordinary()), None),
    "all fields are locked": (lambda p: sign_foreign(locked_field(FieldMDPSpec(FieldMDPAction.ALL)), p.ordinary()), "document-forbids-signing"),
    "all is locked for good": (lambda p: sign_foreign(locked_field(FieldMDPSpec(FieldMDPAction.ALL), MDPPerm.NO_CHANGES), p.ordinary()), "document-forbids-signing"),
}  # fmt: skip


@pytest.mark.requirement("FMT-2")
@pytest.mark.parametrize("name", OTHERS)
def test_signatures_of_others_stay_valid_or_forbid_ours(tight: Isolated, pki: Pki, name: str) -> None:
    make, code = OTHERS[name]
    pdf = make(pki)
    if code:
        assert answer(tight, pdf) == code
        return
    before = indications(tight, pki, pdf)
    assert pades.Finding.SIGNED in pades.inspect(tight, pdf).findings
    both = pades.embed(*sign(tight, pki, pdf, pki.one_time()))
    assert indications(tight, pki, both) == [*before, "TOTAL-PASSED"]


GOOD = (
    classic(),
    with_xref_stream(),
    hybrid(),
    linearised(),
    FORM,
    updated(classic(), 4, b"<</Length 0>>stream\nendstream"),
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A good file, changed: octets overwritten, a piece cut out, moved or doubled, two objects exchanged."""
    pdf = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(pdf) - 1))
        end = min(len(pdf), start + draw(st.integers(1, 60)))
        kind = draw(st.sampled_from(("overwrite", "digit", "cut", "move", "double", "exchange")))
        piece = bytes(pdf[start:end])
        if kind == "overwrite":
            pdf[start:end] = draw(st.binary(min_size=end - start, max_size=end - start))
        elif kind == "digit":
            places = [n for n, octet in enumerate(pdf) if 48 <= octet < 58]
            pdf[draw(st.sampled_from(places))] = draw(st.integers(48, 57))
        elif kind == "cut" and end - start < len(pdf) // 2:
            del pdf[start:end]
        elif kind == "move":
            del pdf[start:end]
            pdf[(at := draw(st.integers(0, len(pdf)))) : at] = piece
        elif kind == "double":
            pdf[start:start] = piece
        else:
            first, second = draw(st.integers(1, 6)), draw(st.integers(1, 6))
            pdf = bytearray(bytes(pdf).replace(b"%d 0 obj" % first, b"%d 0 obj" % second, 1))
    return bytes(pdf)


@given(mutations())
@settings(deadline=None, max_examples=120)
def test_a_changed_file_is_refused_or_can_truly_be_signed(tight: Isolated, pki: Pki, pdf: bytes) -> None:
    try:
        pades.inspect(tight, pdf)
    except Invalid as refusal:
        assert refusal.code.startswith("document-")
        return
    signed = pades.embed(*sign(tight, pki, pdf, pki.one_time()))
    assert signed.startswith(pdf)
    assert indications(tight, pki, signed) == ["TOTAL-PASSED"]
