"""What Ray Serve is told: where its proxy listens, how replicas are watched, what is logged."""

from __future__ import annotations

from typing import Any

from amir.config import HttpSettings

# Read by Ray Serve's controller. A proxy that dies is noticed after 10 s by default, and one that
# starts is given 5 s, which a busy machine exceeds: then it is killed, and the service with it.
ENVIRONMENT = {
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
}

# Of proxies and replicas: the service writes its own line for each request, without the address,
# which Ray's would hold where it matches no route.
LOGGING: dict[str, Any] = {"encoding": "JSON", "enable_access_log": False}

# Of every deployment: the dead are noticed within a second, the slow are given fifteen.
WATCHED: dict[str, Any] = {
    "health_check_period_s": 1,
    "health_check_timeout_s": 15,
    "graceful_shutdown_timeout_s": 30,
    "logging_config": LOGGING,
}


def proxy_options(http: HttpSettings) -> dict[str, Any]:
    """`http_options` of `serve.start`; serve/deployment.yaml says the same in Serve's words."""
    encryption = {}
    if http.certificate is not None and http.key is not None:
        encryption = {
            "ssl_certfile": str(http.certificate.absolute()),
            "ssl_keyfile": str(http.key.absolute()),
        }
    return {"host": http.host, "port": http.port, **encryption}
