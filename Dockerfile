# ottla alone in an image: no shell, no libc, nobody's rights. For linux/amd64 and linux/arm64.
#
#   docker build -t ottla .
#   docker run -p 4318:4318 -v ./config.json:/config.json ottla start --config /config.json \
#       --otlp-http-endpoint 0.0.0.0:4318

FROM --platform=$BUILDPLATFORM rust:1-bookworm AS build
ARG TARGETARCH
WORKDIR /ottla
RUN case "$TARGETARCH" in amd64) echo x86_64 ;; arm64) echo aarch64 ;; *) exit 1 ;; esac >/arch && \
    rustup target add "$(cat /arch)-unknown-linux-musl"
COPY . .
# Rust's own linker: the image's C compiler stays unused, and need not know the target.
RUN target="$(cat /arch)-unknown-linux-musl" && \
    export "CARGO_TARGET_$(echo "$target" | tr a-z- A-Z_)_LINKER=rust-lld" CC=/bin/false CXX=/bin/false && \
    cargo build --locked --release --target "$target" && \
    cp "target/$target/release/ottla" /ottla.bin

FROM scratch
COPY --from=build /ottla.bin /ottla
USER 65532:65532
EXPOSE 4318
ENTRYPOINT ["/ottla"]
CMD ["--help"]
