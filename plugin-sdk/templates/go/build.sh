#!/bin/sh
# Makes policy.wasm. Needs Go 1.25 or newer, wit-bindgen and wasm-tools (`cargo install wit-bindgen-cli wasm-tools`), and in ADAPTER the
# path of wasi_snapshot_preview1.reactor.wasm from a release of wasmtime.
set -e
cd "$(dirname "$0")"
wit-bindgen go ../../../wit --world router --out-dir gen
cp -r export_* gen/
(cd gen && GOFLAGS=-mod=mod GOOS=wasip1 GOARCH=wasm \
    go build -trimpath -buildmode=c-shared -ldflags='-s -w -checklinkname=0' -o core.wasm .)
wasm-tools component embed ../../../wit --world router gen/core.wasm -o gen/embedded.wasm
wasm-tools component new gen/embedded.wasm --adapt "wasi_snapshot_preview1=$ADAPTER" -o policy.wasm
