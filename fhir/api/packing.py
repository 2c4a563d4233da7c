"""Bodies that were packed with gzip. https://www.rfc-editor.org/rfc/rfc9110#field.content-encoding"""

import zlib

from django.http import HttpRequest

from fhir.documents import MAX_BYTES
from healthcloud.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

_PLAIN = frozenset({"", "identity"})
_GZIP = frozenset({"gzip", "x-gzip"})


def unpack(request: HttpRequest) -> None:
    """Put the body of a request in place of the packed one; what unfolds is bounded.

    Raises UnsupportedMediaType for another encoding than gzip, BadRequest for what is no gzip,
    PayloadTooLarge for more than 16 MiB.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding in _PLAIN:
        return
    if encoding not in _GZIP:
        raise UnsupportedMediaType(
            f"Send the body as it is or packed with gzip, not as `{encoding[:40]}`.",
            param="Content-Encoding",
        )
    unfolding = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = unfolding.decompress(request.body, MAX_BYTES + 1)
    except zlib.error:
        raise BadRequest("The body is not packed with gzip.", param="Content-Encoding") from None
    if len(body) > MAX_BYTES:
        raise PayloadTooLarge(f"The body unfolds to more than {MAX_BYTES} bytes.")
    if not unfolding.eof:
        raise BadRequest("The packed body ends too early.", param="Content-Encoding")
    request._body = body  # where Django keeps what it read
