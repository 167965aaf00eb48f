# `just` is a convenience: each recipe is one line that works without it.

# Everything CI checks, in the same order.
check:
    .ci/run

# Formats the code.
fmt:
    cargo fmt --all

# Lints alone.
clippy:
    .ci/run clippy

# Documentation of every crate, private items included.
doc:
    .ci/run doc

# All tests, or those whose name contains FILTER.
test FILTER="":
    cargo test --locked --workspace {{ FILTER }}

# Two nodes and a broker, a sealed message each way.
demo:
    cargo run --release -- demo
