# One file, two images: EXTRAS=api (no TensorFlow) and EXTRAS=worker. docker-compose.yml builds both.
FROM python:3.11.15-slim-bookworm AS build
ARG EXTRAS
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/regbench
WORKDIR /source
COPY pyproject.toml requirements.lock ./
# The lock as constraints: its versions and hashes, but only for what this image needs.
RUN uv pip install --no-cache --compile-bytecode --python /opt/regbench/bin/python \
    --constraint requirements.lock --requirements pyproject.toml --extra "${EXTRAS:?say --build-arg EXTRAS=api or worker}"
COPY README.md LICENSE ./
COPY models models
COPY migrations migrations
COPY regbench regbench
COPY api api
COPY worker worker
RUN uv pip install --no-cache --compile-bytecode --python /opt/regbench/bin/python \
    --no-deps --build-constraint requirements.lock .

FROM python:3.11.15-slim-bookworm
# /data: artifacts and downloaded datasets, shared by API and workers. A new volume takes over its owner.
RUN useradd --uid 10001 --create-home regbench && install --directory --owner regbench --group regbench /data
COPY --from=build /opt/regbench /opt/regbench
ENV PATH=/opt/regbench/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    REGBENCH_HOME=/data \
    KERAS_HOME=/data/keras
USER 10001
WORKDIR /home/regbench
