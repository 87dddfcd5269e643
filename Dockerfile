# Two stages: pip and its cache stay in the first.
FROM python:3.13-slim AS build
# For traces: requirements-tracing.lock.
ARG LOCK=requirements.lock
RUN python -m venv /venv
COPY ${LOCK} .
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r ${LOCK}

FROM python:3.13-slim
# A number, since the files of secrets that are mounted belong to a number.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin gateway
COPY --from=build /venv /venv
WORKDIR /app
COPY LICENSE NOTICE ./
COPY sql sql
COPY gateway gateway
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    GATEWAY_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8000
# Alive, not ready: a container is not to be restarted because PostgreSQL is away.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f\"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', 8000)}/health/live\", timeout=2)"]
CMD ["python", "-m", "gateway", "serve"]
