"""Nearly equal images by a perceptual hash."""

from __future__ import annotations

import io

from model.data.duplicates import near_duplicates, perceptual_hash
from model.data.images import decode_image, encode_image, resize
from tests.data.faces.pages import face


def test_re_encoded_copies_are_near_duplicates_and_other_faces_are_not() -> None:
    faces = [face(index, 64) for index in range(6)]
    copies = [decode_image(io.BytesIO(encode_image(image, "jpeg")), "copy") for image in faces[:2]]
    hashes = [perceptual_hash(image) for image in [*faces, *copies, resize(face(2, 128), 64)]]
    assert near_duplicates(hashes) == [[0, 6], [1, 7], [2, 8]]
    assert near_duplicates([]) == []
