"""`make docs`: takes the pictures of README and documentation anew, from a platform of its own in a real browser."""

import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.browser_walk import chromium, known_person, new_walk, sign_in_browser  # noqa: E402  (not installed)
from tests.harness import make_platform  # noqa: E402  (not installed)

#: Picture in docs/pictures, by the page and width it is taken from.
PICTURES = {
    "register": "idp.register-390",
    "choose": "idp.choose-390",
    "approve": "idp.approve-390",
    "result": "sign.result-390",
    "document": "sign.document-1280",
    "list": "sign.list-1280",
    "validate": "validate.result-1280",
}


def main() -> int:
    """One walk through all pages in English, in the light colours."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        platform = make_platform(directory)
        platform.initialise()
        try:
            platform.start()
            with chromium() as browser:
                person = known_person(platform.urls)
                with new_walk(browser, platform.urls, person, directory / "shots", locale="en-GB") as walk:
                    sign_in_browser(platform.urls, walk, directory)
        finally:
            platform.stop()
        target = ROOT / "docs" / "pictures"
        target.mkdir(parents=True, exist_ok=True)
        for picture, shot in PICTURES.items():
            shutil.copyfile(directory / "shots" / f"{shot}.png", target / f"{picture}.png")
            print(f"docs/pictures/{picture}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
