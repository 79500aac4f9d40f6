# The program and nothing else: a static binary, for each platform that .ci/archives has built.
#
#   .ci/archives && docker build -t pat-events .
#   docker run --rm pat-events topics list -b host:9092
#
# For TLS mount whom to trust: -v /etc/ssl/certs:/etc/ssl/certs:ro, or a file for ssl.ca.location.
FROM scratch
ARG TARGETARCH=amd64
COPY target/archives/bin/${TARGETARCH}/pat-events /pat-events
COPY LICENSE /LICENSE
USER 65534:65534
ENTRYPOINT ["/pat-events"]
