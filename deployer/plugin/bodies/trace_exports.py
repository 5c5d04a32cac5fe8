"""Decodes trace exports in the threads that serve requests, not on the event loop; does not import deployer.

MLflow decompresses, decodes and converts all spans of an export on the event loop (mlflow/server/otel_api.py
`export_traces`). 2 MB of small spans take seconds, and no other request is served meanwhile. An export with more parts
than MLflow's clients normally send is refused before it is decoded (trace_export_parts.py).
"""

from __future__ import annotations

import asyncio
from functools import wraps
from typing import Any

from . import trace_export_parts

BAD_REQUEST, CONTENT_TOO_LARGE = 400, 413


def install() -> None:
    """Replace MLflow's function; call this before MLflow's application is created and copies the routes."""
    import anyio.to_thread
    from fastapi import HTTPException
    from mlflow.server import otel_api
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    usual = otel_api.export_traces
    schema = trace_export_parts.schema(otel_api.ExportTraceServiceRequest.DESCRIPTOR)

    def refuse_too_many(content: bytes, encoding: str, kind: str) -> None:
        if encoding:
            content = otel_api.decompress_otlp_body(content, encoding.lower())
        try:
            if not trace_export_parts.has_too_many(content, kind.partition(";")[0].strip(), schema):
                return
        except ValueError:
            raise HTTPException(BAD_REQUEST, "Invalid OpenTelemetry format") from None
        text = (
            "This export has more spans, attributes, events or links than are accepted at once. Send smaller batches."
        )
        raise HTTPException(CONTENT_TOO_LARGE, text)

    @wraps(usual)  # FastAPI reads the parameters from the original
    async def export_traces(request: Any, **parameters: Any) -> Any:
        body = await request.body()  # the request caches its body

        def export() -> Any:
            refuse_too_many(body, parameters["content_encoding"] or "", parameters["content_type"] or "")
            return asyncio.run(usual(request=request, **parameters))

        return await anyio.to_thread.run_sync(export)

    async def log_spans_async(self: Any, location: str, spans: list[Any]) -> Any:
        return self.log_spans(location, spans)  # runs in the thread of the export and needs no second one (threads.py)

    router: Any = otel_api.otel_router
    # the router may hold further routes, of other packages
    (index,) = [n for n, route in enumerate(router.routes) if getattr(route, "endpoint", None) is usual]
    route = router.routes[index]
    router.add_api_route("", export_traces, methods=route.methods, status_code=route.status_code)
    router.routes[index] = router.routes.pop()
    SqlAlchemyStore.log_spans_async = log_spans_async  # only `export_traces` calls it
