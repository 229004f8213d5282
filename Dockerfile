# The image of the program: one binary, run by a user without rights.
#
#   docker build -t paquebot --build-arg PAQUEBOT_COMMIT="$(git rev-parse --short HEAD)" .

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Shown by paquebot_build_info.
ARG PAQUEBOT_COMMIT=unknown
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    PAQUEBOT_COMMIT="$PAQUEBOT_COMMIT" cargo build --release --locked --bin paquebot \
    && install -D target/release/paquebot /out/paquebot

FROM debian:bookworm-slim
# The stores' folder belongs to the user, and a new volume takes its owner from here.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin paquebot \
    && install -d -o paquebot -g paquebot -m 0700 /var/lib/paquebot
COPY --from=build /out/paquebot /usr/local/bin/paquebot
USER 10001:10001
WORKDIR /var/lib/paquebot
VOLUME /var/lib/paquebot
# 7035 clients, 7036 http source, 7037 metrics and health
EXPOSE 7035 7036 7037
ENTRYPOINT ["paquebot"]
CMD ["run", "-c", "/etc/paquebot/config.toml"]
