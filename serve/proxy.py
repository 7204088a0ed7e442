"""What Ray's HTTP proxy is told: where it listens, and with which certificate."""

from __future__ import annotations

from typing import Any

from amir.config import HttpSettings


def proxy_options(http: HttpSettings) -> dict[str, Any]:
    """`http_options` of `serve.start`; serve/deployment.yaml says the same in Serve's words."""
    encryption = {}
    if http.certificate is not None and http.key is not None:
        encryption = {
            "ssl_certfile": str(http.certificate.absolute()),
            "ssl_keyfile": str(http.key.absolute()),
        }
    return {"host": http.host, "port": http.port, **encryption}
