#!/bin/sh
# Makes policy.wasm. Needs `pip install componentize-py==0.25.1`. The component is about 18 MB, most of it the interpreter.
set -e
cd "$(dirname "$0")"
componentize-py -d ../../../wit -w router componentize --stub-wasi policy -o policy.wasm
