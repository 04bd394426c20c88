"""Guided by coverage: `python -m tests.fuzz.guided TARGET [libFuzzer's options] [directories]`.

With atheris (installed by `scripts/setup --test` where there is a wheel). Finds are written as `crash-*`; put a new
kind of input into `tests/fuzz/corpus/TARGET` under the SHA-256 of its octets.
"""

import sys

import atheris

with atheris.instrument_imports(include=["tsp"]):
    from tests.fuzz.targets import CORPUS, TARGETS


def main(name: str, *options: str) -> None:
    """Does not come back: the fuzzer ends the process, with 77 where it found something."""
    target = TARGETS[name]

    def once(data: bytes) -> None:
        target(data)

    named = any(not option.startswith("-") for option in options)
    directories = [] if named else [str(CORPUS / name)]
    atheris.Setup([sys.argv[0], *options, *directories], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
