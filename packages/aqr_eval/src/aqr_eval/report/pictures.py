"""Pictures from files, as they are, on the page."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from aqr_eval.nuscenes.errors import DataError

_MIME = {"PNG": "image/png", "JPEG": "image/jpeg"}


def picture_uri(path: Path) -> str:
    """A file as a data URI.

    Raises:
        DataError: the file is missing, or no PNG or JPEG that can be decoded.
    """
    try:
        with Image.open(path) as image:
            kind = image.format
            image.load()
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"Figure {path} is missing: correct the path behind --figure.") from error
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"Figure {path} cannot be decoded ({error}): write it again as PNG or JPEG.") from error
    if kind not in _MIME:
        raise DataError(f"Figure {path} is a {kind} file: convert it to PNG or JPEG.")
    return f"data:{_MIME[kind]};base64," + base64.b64encode(content).decode("ascii")


def gallery(pictures: Mapping[str, str]) -> str:
    """Caption -> data URI as figures that a click enlarges; works without scripts."""
    figures = []
    for index, (caption, uri) in enumerate(pictures.items()):
        anchor, text = f"picture-{index}", escape(caption)
        figures.append(
            f'<figure id="{anchor}"><a href="#{anchor}" aria-label="Enlarge {text}"><img src="{uri}" alt="{text}"></a>'
            f"<figcaption>{text}</figcaption>"
            f'<a class="close" href="#pictures" aria-label="Close"></a></figure>'
        )
    return f'<div class="gallery">{"".join(figures)}</div>'
