#!/bin/sh
# Makes policy.wasm. Needs wit-bindgen and wasm-tools (`cargo install wit-bindgen-cli wasm-tools`) and a clang that knows wasm
# (Debian: clang-22 lld-22 wasi-libc libclang-rt-22-dev-wasm32).
set -e
cd "$(dirname "$0")"
mkdir -p gen
wit-bindgen c ../../../wit --world router --out-dir gen
"${CLANG:-clang-22}" --target=wasm32-wasi --sysroot="${SYSROOT:-/usr}" -mexec-model=reactor -Os -Wall -Igen \
    -o gen/core.wasm policy.c gen/router.c gen/router_component_type.o -Wl,--strip-all -Wl,-z,stack-size=65536
wasm-tools component new gen/core.wasm -o policy.wasm
