"""Validation of signatures to EN 319 102-1: offline, in an isolated process, anyone's PDF.

The faces are `service.validate_pdf` (a document in, a `report.ValidationReport` out), `trust.TrustAnchors`
(whom it believes), `app.validate_app` (page and REST) and `commands.verify` (command line).
"""
