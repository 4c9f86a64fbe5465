# docker build -t qsmbids .                                        version from .git
# docker build -t qsmbids:1.2.0 --build-arg VERSION=1.2.0 .        of a release; labels have it too
#
# FSL's bet, which the paper uses, is not in the image unless its licence, which excludes commercial
# use (https://fsl.fmrib.ox.ac.uk/fsl/docs/#/license), is accepted: --build-arg FSL_LICENCE=accepted
ARG BASE=debian:bookworm-slim

# FSL's brain extraction, from FSL's own channel; an empty folder otherwise ---------------------
FROM ${BASE} AS fsl
ARG FSL_LICENCE=""
ARG MICROMAMBA=2.3.0
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN mkdir /opt/fsl \
    && if [ "${FSL_LICENCE}" = accepted ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends bzip2 ca-certificates curl \
        && rm -rf /var/lib/apt/lists/* \
        && curl -fsSL "https://micro.mamba.pm/api/micromamba/linux-64/${MICROMAMBA}" \
            | tar -xjC /usr/local bin/micromamba \
        && micromamba create -y -p /opt/fsl --override-channels \
            -c https://fsl.fmrib.ox.ac.uk/fsldownloads/fslconda/public/ -c conda-forge fsl-bet2=2111.8 \
        && rm -rf /opt/fsl/conda-meta /opt/fsl/include; \
    fi

# The program in an environment of its own ------------------------------------------------------
FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY .docker/build.lock .docker/requirements.lock .docker/
# what has no wheel is built with the pinned tools, hence without an isolated environment
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes -r .docker/build.lock \
    && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes \
        -r .docker/requirements.lock -w /wheels \
    && python3 -m venv --without-pip /opt/qsmbids \
    && /opt/build/bin/pip --python /opt/qsmbids/bin/python install --no-cache-dir --no-compile \
        --no-deps --no-index /wheels/*.whl
COPY . .
# the version comes from the argument, else from .git, for which no file may be missing
ARG VERSION=""
RUN if [ -n "${VERSION}" ]; then export SETUPTOOLS_SCM_PRETEND_VERSION="${VERSION}"; \
    elif [ -d .git ]; then git ls-files -z --deleted > /tmp/missing \
        && xargs -0 -r git checkout -q -- < /tmp/missing; fi \
    && /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels . \
    && /opt/build/bin/pip --python /opt/qsmbids/bin/python install --no-cache-dir --no-compile \
        --no-deps --no-index /wheels/qsmbids-*.whl \
    # hashes instead of times: valid whatever a registry or a converter does to the times of files
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/qsmbids/lib
# loops compiled for any processor, so that they round alike wherever the image runs; the dipole
# inversion takes half as long again as with those of a present-day processor
ENV NUMBA_CACHE_DIR=/opt/qsmbids/numba NUMBA_CPU_NAME=generic
RUN HOME=/tmp /opt/qsmbids/bin/python .docker/warm_up.py

# What is shipped -------------------------------------------------------------------------------
FROM ${BASE}
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=fsl /opt/fsl /opt/fsl
COPY --from=build /opt/qsmbids /opt/qsmbids
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="qsmbids" \
      org.opencontainers.image.description="Quantitative susceptibility mapping of the brain after the ISMRM consensus, as a BIDS App" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/qsmbids/bin:/usr/local/bin:/usr/bin:/bin:/opt/fsl/bin \
    FSLDIR=/opt/fsl FSLOUTPUTTYPE=NIFTI_GZ \
    HOME=/tmp LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/opt/qsmbids/numba NUMBA_CPU_NAME=generic \
    NUMBA_CACHE_LOCATOR_CLASSES=qsmbids.numba_cache.ShippedCacheLocator \
    QSMBIDS_CONTAINER=docker QSMBIDS_DOCKER_TAG="${VERSION:+qsmbids:${VERSION}}"
WORKDIR /tmp
USER 1000:1000
ENTRYPOINT ["qsmbids"]
CMD ["--help"]
