"""Paint the demo's album: some thirty pictures, the same ones on every machine, with nothing downloaded."""

from .gallery import make_pictures

__all__ = ["make_pictures"]
