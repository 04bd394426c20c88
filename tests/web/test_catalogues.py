"""Two languages equal: every sentence that a person can meet has its Slovene, and only one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

ROOT = Path(__file__).resolve().parents[2]
LOCALE = ROOT / "tsp" / "web" / "locale" / "sl"
ERRORS = {"Invalid", "Refused", "NotFound", "Conflict", "TooMany", "Unavailable"}
#: Errors of the command line and of start-up are read by operators, in English.
OPERATORS = (
    "tsp/core/settings.py",
    "tsp/core/files.py",
    "tsp/runtime.py",
    "tsp/initialise.py",
    "tsp/cli.py",
    "tsp/ca/",
    "tsp/idp/accounts/holder.py",
    "tsp/backup/",
    "tsp/adapters.py",
    "tsp/audit/cosignature.py",
    "tsp/audit/installation.py",
    "tsp/audit/witnesses.py",
    "tsp/repository/facts.py",
    "tsp/repository/documents.py",
)


def _catalogues() -> dict[str, Catalog]:
    found: dict[str, Catalog] = {}
    for path in sorted(LOCALE.glob("*.po")):
        with path.open("rb") as file:
            found[path.name] = read_po(file, locale="sl")
    return found


def _sentences_of_errors() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "tsp").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name.startswith(OPERATORS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                second = node.args[1] if len(node.args) > 1 else None
                if isinstance(second, ast.Constant) and isinstance(second.value, str):
                    yield second.value, f"{name}:{node.lineno}"


def _translated() -> set[str]:
    known: set[str] = set()
    for catalogue in _catalogues().values():
        for message in catalogue:
            single = message.id if isinstance(message.id, str) else message.id[0]
            strings = [message.string] if isinstance(message.string, str) else list(message.string)
            if single and all(strings) and not message.fuzzy:
                known.add(single)
    return known


@pytest.mark.requirement("LOG-1")
def test_every_sentence_of_an_error_has_its_slovene() -> None:
    known = _translated()
    missing = [f"{where}: {sentence}" for sentence, where in _sentences_of_errors() if sentence not in known]
    assert not missing, "\n".join(missing)


@pytest.mark.requirement("LOG-1")
def test_every_text_of_a_page_has_its_slovene() -> None:
    known = _translated()
    templates = extract_from_dir(
        ROOT / "tsp" / "web" / "templates",
        method_map=[("**.html", "jinja2.ext:babel_extract"), ("**.txt", "jinja2.ext:babel_extract")],
        options_map={"**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true"}},
    )
    missing = []
    for file, line, message, _, _ in templates:
        single = message if isinstance(message, str) else message[0]
        if single not in known:
            missing.append(f"{file}:{line}: {single}")
    assert not missing, "\n".join(missing)


def test_catalogues_do_not_contradict_each_other() -> None:
    said: dict[str, tuple[str, object]] = {}
    for name, catalogue in _catalogues().items():
        for message in catalogue:
            key = message.id if isinstance(message.id, str) else message.id[0]
            if not key:
                continue
            before = said.setdefault(key, (name, message.string))
            assert before[1] == message.string, f"{key!r} reads differently in {before[0]} and {name}"
