"""A small face of its own: the shared frame is tested through HTTP, as every other face uses it."""

from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tsp.core.errors import Conflict, Invalid, NotFound, Refused, TooMany, TspError, Unavailable
from tsp.core.randomness import SystemRandomness
from tsp.web import Pages

MOMENT = datetime(2026, 11, 23, 9, 21, 4, 113000, tzinfo=UTC)
ERRORS: dict[str, TspError] = {
    "invalid": Invalid("number-wrong", "The request could not be read."),
    "refused": Refused("not-allowed", "That is more than this page accepts."),
    "not-found": NotFound("nothing", "There is no such page."),
    "conflict": Conflict("moved", "The request could not be read."),
    "too-many": TooMany("slow-down", "The request could not be read.", retry_after=30),
    "unavailable": Unavailable("down", "The request could not be read."),
}


def make_pages(origin: str = "http://testserver", *, demo: bool = True) -> Pages:
    return Pages(
        name="Enkrat",
        face="idp",
        origin=origin,
        support="podpora@primer.si",
        randomness=SystemRandomness(),
        form_action=("https://banka.example",),
        demo=demo,
        template_package_dirs=[Path(__file__).parent / "templates"],
    )


def make_client(pages: Pages) -> TestClient:
    def show(request: Request) -> Response:
        return pages.render(
            request, "gallery/all.html", service="Elektronska <banka>", typed="ana@primer.si", moment=MOMENT
        )

    def post(request: Request, form: dict[str, str]) -> Response:
        return JSONResponse(form)

    def fail(request: Request) -> Response:
        raise ERRORS[request.path_params["kind"]]

    def crash(request: Request) -> Response:
        raise RuntimeError("Ana Primer, davčna 12345679")

    async def take(request: Request) -> Response:
        upload = await pages.upload(request, "document", limit=1000)
        return JSONResponse({"name": upload.filename, "size": len(upload.content), "fields": upload.fields})

    def session(request: Request) -> Response:
        response = RedirectResponse("/", 303)
        pages.set_cookie(response, "session", "abc", max_age=60)
        return response

    return TestClient(
        pages.application(
            [
                Route("/", pages.view(show), methods=["GET"]),
                Route("/", pages.action(post), methods=["POST"]),
                Route("/fail/{kind}", pages.view(fail)),
                Route("/crash", pages.view(crash)),
                Route("/take", take, methods=["POST"]),
                Route("/session", pages.view(session)),
                Route("/status", lambda _: JSONResponse({})),
                Route("/plain", lambda _: PlainTextResponse("words")),
            ]
        ),
        base_url=pages.origin,
        follow_redirects=False,
    )
