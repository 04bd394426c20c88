"""What every page for people shares: templates, style, languages, form protection, headers.

The face is `Pages` (tsp/web/pages.py): one per web application, made at start and handed to the
routes. `Languages` (tsp/web/language.py) also serves wings that write messages without a request.
"""

from tsp.web.language import Languages
from tsp.web.pages import Pages, Upload

__all__ = ["Languages", "Pages", "Upload"]
