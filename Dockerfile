# Two stages: what is installed is built once, what runs holds neither compiler nor build tool.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements/runtime.txt requirements/build.txt requirements/
RUN python -m venv /opt/duologue \
 && /opt/duologue/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY duologue duologue
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps --wheel-dir /wheels . \
 && /opt/duologue/bin/pip install --no-deps /wheels/*.whl \
 && /opt/duologue/bin/pip uninstall --yes pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin duologue \
 && install --directory --owner duologue --group duologue --mode 0700 /var/lib/duologue
COPY --from=build /opt/duologue /opt/duologue
# In a container loopback is the container's own, so it binds every address; without DUOLOGUE_AUTH_TOKEN it then
# refuses to start and says so.
ENV PATH=/opt/duologue/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DUOLOGUE_SERVER__HOST=0.0.0.0 \
    DUOLOGUE_STORE__DATA_DIR=/var/lib/duologue
USER 10001:10001
WORKDIR /var/lib/duologue
VOLUME /var/lib/duologue
EXPOSE 8400
# Alive, not ready: a store that is away must not have the container killed. No proxy is asked.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as http; port = os.environ.get('DUOLOGUE_SERVER__PORT', '8400'); http.build_opener(http.ProxyHandler({})).open(f'http://127.0.0.1:{port}/healthz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["duologue"]
CMD ["serve"]
