#!/bin/sh
# Makes policy.wasm. Needs npm; `componentize-qjs` is fetched into node_modules here.
set -e
cd "$(dirname "$0")"
[ -d node_modules/componentize-qjs ] || npm install --no-save componentize-qjs@0.4.5
npx componentize-qjs -w ../../../wit -n router -j policy.js --sync --opt-size --stub-wasi -o policy.wasm
