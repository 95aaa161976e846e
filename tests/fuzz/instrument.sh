#!/bin/sh
# Compiles a crate of ours with the counters that libFuzzer reads, in cargo's RUSTC_WORKSPACE_WRAPPER: what it depends on is not compiled
# anew. cargo-fuzz sets the same ones, and address sanitizer, which alone needs a nightly compiler.
exec "$@" -Copt-level=3 --cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
