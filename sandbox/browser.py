"""A small browser without JavaScript: cookies, redirects by GET, forms by the names of their fields.

It keeps to the page's `form-action` policy on every redirect as strict browsers do, so a journey
that works here does not fail there. For journeys over the public pages: the person maker, the
story of the demo, and tests (`Browser(TestClient(app))`).
"""

from dataclasses import dataclass
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import httpx2

from sandbox.page import Form, Page, PageError, Submission

__all__ = ["Browser", "Download", "new_client"]

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 20


@dataclass(frozen=True)
class Download:
    """A file that came instead of a page."""

    url: str
    name: str
    media_type: str
    content: bytes


def new_client(timeout: float = 60.0) -> httpx2.Client:
    """An HTTP client as a browser would be: no proxy from the environment, no redirects of its own."""
    return httpx2.Client(timeout=timeout, trust_env=False, follow_redirects=False)


class Browser:
    """One person's browser: its cookies last as long as it does."""

    def __init__(self, client: httpx2.Client, language: str = "sl") -> None:
        self._client = client
        self._language = language
        #: Addresses of the last journey, redirects included; for error messages and tests.
        self.trail: list[str] = []

    def get(self, url: str) -> Page:
        """Opens a page. Any status makes a page; `PageError` for a file or no answer at all."""
        return self._page(self._follow(Submission("GET", url, [], {}, multipart=False), policy_of=None))

    def submit(self, form: Form, button: str = "", value: str | None = None) -> Page:
        """Presses a button of a form and opens what comes."""
        return self._page(self._follow(form.submission(button, value), policy_of=form.page))

    def press(self, page: Page, button: str, value: str | None = None, **fields: str) -> Page:
        """Fills the form that has this button and presses it."""
        return self.submit(page.form(button, *fields).fill(**fields), button, value)

    def download(self, url: str) -> Download:
        """Fetches a file; `PageError` where a page or an error comes instead."""
        response = self._follow(Submission("GET", url, [], {}, multipart=False), policy_of=None)
        media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        if response.status_code != 200 or media_type == "text/html":
            page = Page(str(response.url), response.status_code, response.content)
            raise PageError(page.describe(f"expected a file at {url}"))
        return Download(str(response.url), _file_name(response), media_type, response.content)

    def _page(self, response: httpx2.Response) -> Page:
        if response.headers.get("content-type", "").partition(";")[0].strip() != "text/html":
            said = response.text[:200]
            raise PageError(f"{response.url} answered {response.status_code} with no page: {said}")
        policy = response.headers.get("content-security-policy", "")
        return Page(str(response.url), response.status_code, response.content, policy)

    def _follow(self, submission: Submission, *, policy_of: Page | None) -> httpx2.Response:
        self.trail = [submission.url]
        if policy_of is not None:
            _check_form_action(policy_of, submission.url)
        response = self._send(submission, policy_of)
        while response.status_code in _REDIRECTS:
            if len(self.trail) > _MAX_REDIRECTS:
                raise PageError(f"too many redirects: {' > '.join(self.trail)}")
            url = urljoin(str(response.url), response.headers.get("location", ""))
            if response.status_code in (307, 308) and submission.method != "GET":
                raise PageError(f"{response.url} repeats a form at {url} (status {response.status_code})")
            if policy_of is not None:
                _check_form_action(policy_of, url)
            self.trail.append(url)
            response = self._send(Submission("GET", url, [], {}, multipart=False), None)
        return response

    def _send(self, submission: Submission, page: Page | None) -> httpx2.Response:
        headers = {"Accept-Language": self._language, "Accept": "text/html,*/*"}
        if page is not None and submission.method != "GET":
            headers["Origin"] = _origin(page.url)
        try:
            return self._exchange(submission, headers)
        except httpx2.TransportError as error:
            raise PageError(f"{submission.url} does not answer: {type(error).__name__} {error}") from error

    def _exchange(self, submission: Submission, headers: dict[str, str]) -> httpx2.Response:
        url, send = submission.url, self._client.request
        if submission.method == "GET":
            if submission.fields:
                url = f"{url.partition('?')[0]}?{urlencode(submission.fields)}"
            return send("GET", url, headers=headers, follow_redirects=False)
        if submission.multipart:
            files = [(name, (None, value.encode(), None)) for name, value in submission.fields]
            uploads = [(name, (up.name, up.content, up.media_type)) for name, up in submission.files.items()]
            return send("POST", url, headers=headers, files=[*files, *uploads], follow_redirects=False)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        content = urlencode(submission.fields).encode()
        return send("POST", url, headers=headers, content=content, follow_redirects=False)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _check_form_action(page: Page, url: str) -> None:
    """`PageError` where the page's policy does not let its forms lead to `url` (CSP 3, 6.4.1 form-action)."""
    directives = (part.split() for part in page.policy.split(";"))
    sources = next((words[1:] for words in directives if words and words[0] == "form-action"), None)
    if sources is None:
        return
    allowed = {_origin(page.url) if source == "'self'" else source for source in sources}
    if not allowed & {_origin(url), f"{urlsplit(url).scheme}:"}:
        raise PageError(
            page.describe(f"browsers refuse to go on to {_origin(url)}: form-action is {' '.join(sources)}")
        )


def _file_name(response: httpx2.Response) -> str:
    """The name that the server gives (RFC 6266, `filename*` first), else the end of the address."""
    names: dict[str, str] = {}
    for part in response.headers.get("content-disposition", "").split(";")[1:]:
        name, _, value = part.strip().partition("=")
        names[name.strip().lower()] = value.strip()
    if extended := names.get("filename*", "").partition("''")[2]:
        return unquote(extended)
    return names.get("filename", "").strip('"') or urlsplit(str(response.url)).path.rpartition("/")[2]
