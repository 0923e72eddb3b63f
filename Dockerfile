# `make image`. The tests build an image of their own, from scratch, around the binary that they test.
FROM rust:1.91-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/headgate /headgate

# glibc and nothing else; its user is 65532, as the chart has it
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /headgate /headgate
EXPOSE 8080 8443 10254
ENTRYPOINT ["/headgate"]
CMD ["serve"]
