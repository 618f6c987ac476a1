#!/bin/sh
# Builds the collector that builder.yaml describes, once for each version of that file, and prints its path.
#
#     build.sh [--where]     --where: only print where it is or would be
#
# The result stays in ${XDG_CACHE_HOME:-~/.cache}/otel-ratelimit/collector/<hash of builder.yaml>/.
# The same path is computed in otel_ratelimit/demo/stack/collector.py.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
manifest="$here/builder.yaml"
hash=$(sha256sum "$manifest" | cut -c 1-16)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/otel-ratelimit/collector/$hash"
program="$folder/otelcol-ratelimit"

if [ "${1:-}" = --where ] || [ -x "$program" ]; then
  echo "$program"
  exit 0
fi

if ! command -v go >/dev/null; then
  echo "Go is needed to build the collector, but 'go' is not on PATH. See https://go.dev/doc/install" >&2
  exit 1
fi

# ocb must have the version of the components that it builds.
version=$(sed -n 's/.*otlpreceiver \(v[0-9.]*\).*/\1/p' "$manifest")
mkdir -p "$folder"
work=$(mktemp -d "$folder/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

echo "Building the collector $version, which takes some minutes the first time; the log is $folder/build.log" >&2
export CGO_ENABLED=0
if ! { GOBIN="$work" go install "go.opentelemetry.io/collector/cmd/builder@$version" &&
  (cd "$work" && ./builder --config "$manifest" --output-path "$work/out"); } >"$folder/build.log" 2>&1; then
  echo "The collector could not be built:" >&2
  tail -n 15 "$folder/build.log" >&2
  exit 1
fi
# Renaming is atomic, so a build that runs at the same time never finds half a program.
mv "$work/out/otelcol-ratelimit" "$program"
echo "$program"
