# NOT BUILT by the tests: there is no container engine where they run. What it installs was run without one.
#
#   docker build --tag streamd .
#
#   docker run --rm --publish 127.0.0.1:8080:8080 --publish 8189:8189/udp --volume streamd-data:/data \
#       --env STREAMD_WEBRTC__ADVERTISE='["ADDRESS-OF-THIS-HOST"]' \
#       --env STREAMD_SERVER__ALLOW_ANONYMOUS=true streamd        # shows the built-in clip
#
# It listens on all addresses of the container, so it wants server.view_tokens, or allow_anonymous as above: then all
# who reach the published port may look. Changing anything takes server.control_tokens. docs/remote-viewing.md says more:
#   a configuration    --volume ./streamd.toml:/etc/streamd.toml:ro  streamd run --config /etc/streamd.toml
#   recordings         --volume ./recordings:/recordings --env STREAMD_RECORDING__DIRECTORY=/recordings   (user 10001)
#   a webcam           --device /dev/video0 --group-add video
#   tighter            --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --memory 2g

FROM debian:12-slim AS base
# Python recommends certificates and needs none; weights come by HTTPS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 ca-certificates libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv
RUN python3 -m venv /opt/streamd/.venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements /src/requirements
RUN /opt/streamd/.venv/bin/pip install --no-deps --require-hashes --requirement /src/requirements/run.lock
COPY pyproject.toml README.md LICENSE THIRD-PARTY-NOTICES.md /src/
COPY systemd /src/systemd
COPY streamd /src/streamd
RUN /opt/streamd/.venv/bin/pip install --no-deps --no-build-isolation /src

FROM base
# Volumes take over who owns the directory: the user must be able to write there.
RUN useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin streamd \
    && install --directory --owner=streamd --group=streamd --mode=0750 /data /data/models /data/cache /recordings
COPY --from=build /opt/streamd /opt/streamd
# Values are TOML: text that reads as a number has quotes within the quotes.
ENV PATH=/opt/streamd/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    STREAMD_HOME=/data \
    STREAMD_SERVER__LISTEN=0.0.0.0:8080 \
    STREAMD_WEBRTC__UDP_PORTS='"8189"'
USER streamd
WORKDIR /data
# Weights; networks compiled for this CPU; recordings, when recording.directory says so.
VOLUME ["/data", "/recordings"]
EXPOSE 8080/tcp 8189/udp
# With server.tls_certificate give another: this one asks by HTTP.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=4).read()"]
ENTRYPOINT ["streamd"]
CMD ["run"]
