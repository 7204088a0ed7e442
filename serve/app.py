"""The service as a Ray Serve application: HTTP replicas before the engine's.

`serve run serve.app:build_app`, or serve/deployment.yaml; its args are the settings of
`amir.config.ServeSettings`.
"""

# Annotations stay what they are: Ray reads that of build_app's argument when it is called.

from ray import serve

from amir.config import ServeSettings
from serve.engine.deployment import engine_application
from serve.http_replica import http_application


def build_app(settings: ServeSettings) -> serve.Application:
    """The application to `serve.run`, or to name in a Serve config file."""
    return http_application(settings, engine_application(settings))
