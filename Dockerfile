# syntax=docker/dockerfile:1
# NOT YET BUILT: written where no Docker engine was at hand. The builder's commands were run by hand, the image was not.
#
# The CPU image. The runtime's wheel carries CUDA and TensorRT providers of some 280 MB; they are removed here.

FROM python:3.11-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv --without-pip /opt/retort
COPY requirements/service.lock requirements/service.lock
RUN python -m pip --python /opt/retort/bin/python install --no-deps --require-hashes -r requirements/service.lock \
    && rm -f /opt/retort/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime_providers_cuda.so \
             /opt/retort/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime_providers_tensorrt.so
COPY pyproject.toml LICENSE ./
COPY service service
COPY models/__init__.py models/__init__.py
COPY conformance conformance
# The build uses the locked setuptools of the environment, not one fetched on the side.
RUN python -m pip --python /opt/retort/bin/python install --no-deps --no-build-isolation .

FROM python:3.11-slim AS cpu
# The server writes nowhere but to its state folder, so the root file system may be read-only.
ENV PATH=/opt/retort/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent retort \
    && install -d -o retort -g retort -m 0750 /var/lib/retort
COPY --from=builder /opt/retort /opt/retort
COPY models/repository /models
USER 10001:10001
ENV RETORT_REPOSITORY=/models RETORT_STATE_DIR=/var/lib/retort RETORT_HOST=0.0.0.0 \
    RETORT_HTTP_PORT=8000 RETORT_GRPC_PORT=8001
VOLUME ["/var/lib/retort"]
# HTTP and gRPC.
EXPOSE 8000 8001
# Live, not ready: a server that is loading a model must not be killed for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, ssl, urllib.request as r; s, c = ('https', ssl._create_unverified_context()) if os.environ.get('RETORT_TLS_CERT') else ('http', None); r.urlopen(f'{s}://127.0.0.1:{os.environ[\"RETORT_HTTP_PORT\"]}/v2/health/live', timeout=2, context=c)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["retort", "serve"]
