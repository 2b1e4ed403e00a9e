"""Which route and method is in which scope, and which key opens which: promise X1's table, written by hand."""

from __future__ import annotations

from tests.support.keys import KEYS

BAD = "bad-0000000000"  # nobody's

OPEN = {("GET", path) for path in ("/v2/health/live", "/v2/health/ready", "/docs", "/openapi.json")}
METRICS = {("GET", "/metrics")}
INFER_AND_READ = {
    *(("GET", path) for path in ("/v2", "/v2/models/stats", "/v1/models", "/v1/models/{model}")),
    *(
        ("GET", f"/v2/models/{{model}}{version}{what}")
        for version in ("", "/versions/{version}")
        for what in ("", "/config", "/stats", "/ready")
    ),
    *(("GET", f"/v2/models/{{model}}/versions{what}") for what in ("", "/{version}/card")),
    *(("POST", f"/v2/models/{{model}}{version}/infer") for version in ("", "/versions/{version}")),
    *(("POST", f"/v1/models/{{model}}{version}:predict") for version in ("", "/versions/{version}")),
    ("POST", "/v2/repository/index"),
}
ADMIN = {
    *(("POST", f"/v2/repository/models/{{model}}/{what}") for what in ("load", "unload", "swap", "rollback")),
    *(
        (method, path)
        for method in ("GET", "POST")
        for path in ("/v2/logging", "/v2/trace/setting", "/v2/models/{model}/trace/setting")
    ),
    *(
        (method, f"/v2/{kind}sharedmemory{path}")
        for kind in ("system", "cuda")
        for method, path in [
            ("GET", "/status"),
            ("GET", "/region/{region}/status"),
            ("POST", "/region/{region}/register"),
            ("POST", "/region/{region}/unregister"),
            ("POST", "/unregister"),
        ]
    ),
}
SCOPES = {"open": OPEN, "metrics": METRICS, "infer": INFER_AND_READ, "admin": ADMIN}
MAY = {  # key -> the scopes whose routes it opens
    None: {"open"},
    BAD: {"open"},
    KEYS["app"]: {"open", "infer"},
    KEYS["scraper"]: {"open", "metrics"},
    KEYS["ops"]: {"open", "metrics", "infer", "admin"},
}
OPEN_CALLS = {"ServerLive", "ServerReady"}
ADMIN_CALLS = {
    *("RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting", "LogSettings"),
    *("SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "SystemSharedMemoryUnregister"),
    *("CudaSharedMemoryStatus", "CudaSharedMemoryRegister", "CudaSharedMemoryUnregister"),
}
