# leepfrog on the CPU, without a training framework:
#   docker build -t leepfrog .
#   docker run --rm -v "$PWD":/data -v leepfrog:/cache leepfrog rank photos -m models
# Models are exported on a workstation (leepfrog export) and mounted, here in ./models.
ARG PYTHON=python:3.12-slim
FROM ${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY models models
COPY runtime runtime
COPY exporter exporter
ARG VERSION=0+docker
ENV SETUPTOOLS_SCM_PRETEND_VERSION=${VERSION}
RUN python3 -m venv /opt/leepfrog && /opt/leepfrog/bin/pip install --no-cache-dir -c constraints.txt '.[report]'

FROM ${PYTHON}
COPY --from=build /opt/leepfrog /opt/leepfrog
# Compiled kernels and cached outputs; a volume keeps them between runs.
ENV LEEPFROG_HOME=/cache NUMBA_CACHE_DIR=/cache/numba
RUN mkdir -p /cache /data && chmod 1777 /cache
VOLUME /cache
WORKDIR /data
ENTRYPOINT ["/opt/leepfrog/bin/leepfrog"]
CMD ["--help"]
