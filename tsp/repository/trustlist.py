"""The trust list of the provider's services (TS 119 612): values in, XML out, and back.

The scheme is the provider's own: type, rules and status approach are addresses of its repository, and the
legal notice says what it is not. Nothing of it is the trusted list of a Member State.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from lxml import etree

from tsp.repository.services import STATUSES, TYPES, Service, Status

TSL: Final = "http://uri.etsi.org/02231/v2#"
TSL_TAG: Final = "http://uri.etsi.org/19612/TSLTag"
MEDIA_TYPE: Final = "application/vnd.etsi.tsl+xml"
VERSION: Final = 6
#: TS 119 612, 5.3.12: history is kept for ever.
HISTORY: Final = 65535
_XML: Final = "http://www.w3.org/XML/1998/namespace"
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)


@dataclass(frozen=True, slots=True)
class Scheme:
    """Who keeps the list and by which rules. Texts by language, English among them (TS 119 612, 5.1.4)."""

    operator: str
    identifier: str
    names: Mapping[str, str]
    street: str
    postal_code: str
    locality: str
    country: str
    email: str
    repository: str
    notices: Mapping[str, str]

    @property
    def page(self) -> str:
        """The page that tells the rules; the scheme's own identifiers are places of it."""
        return f"{self.repository}/trust-list"

    @property
    def location(self) -> str:
        """Where the list is published."""
        return f"{self.repository}/trust-list.xml"


@dataclass(frozen=True, slots=True)
class Instance:
    """What the list said of a service from `since` on."""

    status: Status
    since: datetime


@dataclass(frozen=True, slots=True)
class Entry:
    """A service with its present state and the earlier ones, newest first."""

    service: Service
    now: Instance
    history: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True)
class TrustList:
    """One issue of the list."""

    sequence: int
    issued: datetime
    next_update: datetime
    entries: tuple[Entry, ...] = field(repr=False)


def following(before: TrustList | None, present: Sequence[Service], now: datetime) -> tuple[Entry, ...]:
    """The entries of the next issue: what changed gets a new state and keeps the old one as history.

    A service stays on the list for ever; one that is not there any more is withdrawn (TS 119 612, 5.5.4).
    """
    known = {(entry.service.type, entry.service.key_id): entry for entry in before.entries} if before else {}
    entries = []
    for service in present:
        standing = known.pop((service.type, service.key_id), None)
        if standing is None:
            begin = service.withdrawn or service.since
            entries.append(Entry(service, Instance(service.status, begin)))
        else:
            entries.append(_moved(replace(standing, service=service), service.status, service.withdrawn or now))
    entries += [_moved(entry, "withdrawn", now) for entry in known.values()]
    return tuple(entries)


def _moved(entry: Entry, status: Status, when: datetime) -> Entry:
    if entry.now.status == status:
        return entry
    since = max(when, entry.now.since)
    return replace(entry, now=Instance(status, since), history=(entry.now, *entry.history))


# --- writing ---------------------------------------------------------------------------------------


def build(scheme: Scheme, listed: TrustList) -> etree._Element:
    """TrustServiceStatusList without its signature, elements in the order of the schema (TS 119 612, Annex C)."""
    root = etree.Element(_q("TrustServiceStatusList"), {"Id": "trust-list", "TSLTag": TSL_TAG}, nsmap={None: TSL})  # type: ignore[dict-item]  # the default namespace has no prefix
    _scheme_information(_sub(root, "SchemeInformation"), scheme, listed)
    provider = _sub(_sub(root, "TrustServiceProviderList"), "TrustServiceProvider")
    information = _sub(provider, "TSPInformation")
    _names(information, "TSPName", {"en": scheme.operator, "sl": scheme.operator})
    # TS 119 612, 5.4.2: the official registration identifier, as in organizationIdentifier.
    _names(information, "TSPTradeName", {"en": scheme.identifier})
    _address(information, "TSPAddress", scheme)
    _uris(information, "TSPInformationURI", {"en": scheme.repository, "sl": scheme.repository})
    services = _sub(provider, "TSPServices")
    for entry in listed.entries:
        _service(services, entry, scheme)
    return root


def _scheme_information(parent: etree._Element, scheme: Scheme, listed: TrustList) -> None:
    _sub(parent, "TSLVersionIdentifier", str(VERSION))
    _sub(parent, "TSLSequenceNumber", str(listed.sequence))
    _sub(parent, "TSLType", f"{scheme.page}#type")
    _names(parent, "SchemeOperatorName", {"en": scheme.operator, "sl": scheme.operator})
    _address(parent, "SchemeOperatorAddress", scheme)
    # TS 119 612, 5.3.6: the name begins with the country of the scheme.
    _names(parent, "SchemeName", {lang: f"{scheme.country}:{name}" for lang, name in scheme.names.items()})
    _uris(parent, "SchemeInformationURI", {"en": scheme.page, "sl": scheme.page})
    _sub(parent, "StatusDeterminationApproach", f"{scheme.page}#approach")
    _uris(parent, "SchemeTypeCommunityRules", {"en": f"{scheme.page}#rules", "sl": f"{scheme.page}#rules"})
    _sub(parent, "SchemeTerritory", scheme.country)
    notice = _sub(parent, "PolicyOrLegalNotice")
    for language, words in scheme.notices.items():
        _in_language(_sub(notice, "TSLLegalNotice", words), language)
    _sub(parent, "HistoricalInformationPeriod", str(HISTORY))
    _sub(parent, "ListIssueDateTime", _time(listed.issued))
    _sub(_sub(parent, "NextUpdate"), "dateTime", _time(listed.next_update))
    _sub(_sub(parent, "DistributionPoints"), "URI", scheme.location)


def _service(parent: etree._Element, entry: Entry, scheme: Scheme) -> None:
    service, holder = entry.service, _sub(parent, "TSPService")
    information = _sub(holder, "ServiceInformation")
    _state(information, service, entry.now, with_certificate=True)
    _uris(information, "SchemeServiceDefinitionURI", {"en": f"{scheme.page}#services", "sl": f"{scheme.page}#services"})
    points = _sub(information, "ServiceSupplyPoints")
    for point in service.supply_points:
        _sub(points, "ServiceSupplyPoint", point)
    statement = f"{scheme.repository}/documents/{'tsa' if service.type.startswith('TSA') else 'cps'}"
    _uris(information, "TSPServiceDefinitionURI", {"en": statement, "sl": statement})
    _purposes(information, service)
    if entry.history:
        past = _sub(holder, "ServiceHistory")
        for instance in entry.history:
            before = _sub(past, "ServiceHistoryInstance")
            _state(before, service, instance, with_certificate=False)
            _purposes(before, service)


def _state(parent: etree._Element, service: Service, instance: Instance, *, with_certificate: bool) -> None:
    """Type, name, identity, status and its start. History names the key alone (TS 119 612, 5.6.3)."""
    _sub(parent, "ServiceTypeIdentifier", TYPES + service.type)
    _names(parent, "ServiceName", service.names)
    identity = _sub(parent, "ServiceDigitalIdentity")
    if with_certificate:
        _sub(_sub(identity, "DigitalId"), "X509Certificate", base64.b64encode(service.certificate).decode())
    name = x509.load_der_x509_certificate(service.certificate).subject.rfc4514_string()
    _sub(_sub(identity, "DigitalId"), "X509SubjectName", name)
    _sub(_sub(identity, "DigitalId"), "X509SKI", base64.b64encode(service.key_id).decode())
    _sub(parent, "ServiceStatus", STATUSES + instance.status)
    _sub(parent, "StatusStartingTime", _time(instance.since))


def _purposes(parent: etree._Element, service: Service) -> None:
    """Additional service information: what qualified certificates are for (TS 119 612, 5.5.9.4)."""
    if not service.purposes:
        return
    extensions = _sub(parent, "ServiceInformationExtensions")
    for purpose in service.purposes:
        extension = _sub(extensions, "Extension")
        extension.set("Critical", "true")
        uri = _sub(_sub(extension, "AdditionalServiceInformation"), "URI", purpose)
        _in_language(uri, "en")


def _q(name: str) -> str:
    return f"{{{TSL}}}{name}"


def _sub(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, _q(name))
    element.text = text
    return element


def _in_language(element: etree._Element, language: str) -> None:
    element.set(f"{{{_XML}}}lang", language)


def _names(parent: etree._Element, name: str, words: Mapping[str, str]) -> None:
    holder = _sub(parent, name)
    for language, text in words.items():
        _in_language(_sub(holder, "Name", text), language)


def _uris(parent: etree._Element, name: str, places: Mapping[str, str]) -> None:
    holder = _sub(parent, name)
    for language, place in places.items():
        _in_language(_sub(holder, "URI", place), language)


def _address(parent: etree._Element, name: str, scheme: Scheme) -> None:
    """Postal address in every language, then e-mail and web page (TS 119 612, 5.3.5)."""
    holder = _sub(parent, name)
    postal = _sub(holder, "PostalAddresses")
    for language in scheme.names:
        address = _sub(postal, "PostalAddress")
        _in_language(address, language)
        for part, text in (
            ("StreetAddress", scheme.street),
            ("Locality", scheme.locality),
            ("PostalCode", scheme.postal_code),
            ("CountryName", scheme.country),
        ):
            _sub(address, part, text)
    electronic = _sub(holder, "ElectronicAddress")
    for language in scheme.names:
        for uri in (f"mailto:{scheme.email}", scheme.repository):
            _in_language(_sub(electronic, "URI", uri), language)


def _time(moment: datetime) -> str:
    """TS 119 612, 5.1.2: UTC, to the second, with Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- reading ---------------------------------------------------------------------------------------


def read(data: bytes) -> TrustList:
    """An issue of our own list, as `build` wrote it; ValueError for anything else. The signature is not looked at."""
    try:
        root = etree.fromstring(data, _PARSER)
        return TrustList(
            sequence=int(_text(root, ".//t:TSLSequenceNumber")),
            issued=_moment(_text(root, ".//t:ListIssueDateTime")),
            next_update=_moment(_text(root, ".//t:NextUpdate/t:dateTime")),
            entries=tuple(_read_entry(service) for service in root.iterfind(f".//{_q('TSPService')}")),
        )
    except (etree.XMLSyntaxError, AttributeError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"not a trust list: {error}") from None


def _read_entry(element: etree._Element) -> Entry:
    states = [_read_state(element)] + [
        _read_state(past) for past in element.iterfind(f".//{_q('ServiceHistoryInstance')}")
    ]
    present = states[0]
    service = Service(
        type=_text(element, ".//t:ServiceTypeIdentifier").removeprefix(TYPES),  # type: ignore[arg-type]  # as written
        names={
            name.get(f"{{{_XML}}}lang", ""): str(name.text)
            for name in _all(element, "t:ServiceInformation/t:ServiceName/t:Name")
        },
        certificate=base64.b64decode(_text(element, ".//t:X509Certificate")),
        supply_points=tuple(str(point.text) for point in _all(element, ".//t:ServiceSupplyPoint")),
        since=states[-1].since,
        withdrawn=present.since if present.status == "withdrawn" else None,
        purposes=tuple(
            str(uri.text) for uri in _all(element, "t:ServiceInformation//t:AdditionalServiceInformation/t:URI")
        ),
    )
    return Entry(service, present, tuple(states[1:]))


def _read_state(element: etree._Element) -> Instance:
    status = _text(element, ".//t:ServiceStatus").removeprefix(STATUSES)
    if status not in ("granted", "withdrawn"):
        raise ValueError("not a trust list: unknown status")
    return Instance(
        "granted" if status == "granted" else "withdrawn", _moment(_text(element, ".//t:StatusStartingTime"))
    )


def _all(element: etree._Element, path: str) -> list[etree._Element]:
    return element.findall(path, {"t": TSL})


def _text(element: etree._Element, path: str) -> str:
    found = element.find(path, {"t": TSL})
    if found is None or found.text is None:
        raise ValueError(f"not a trust list: {path} is missing")
    return found.text


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
