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

# Writes docs/reliability.md anew: the promises with their tests, and the figures of the last full runs (docs/reliability/*.json).
reliability:
    WAXWING_BLESS=1 cargo test --locked --test e2e the_reliability_document

# Small schedules of faults by seed, each judged; CI does 500, in 106 s on 2 cores. The figures are kept.
schedules COUNT="10000":
    .ci/record schedules env WAXWING_SCHEDULES={{ COUNT }} cargo test --locked --test e2e seeded_schedules -- --nocapture

# Processes killed by the thousand, on three nodes. 700 took 12 minutes on 2 cores that had other work. The figures are kept.
prove KILLS="2000":
    .ci/record prove env WAXWING_KILLS={{ KILLS }} cargo test --locked --test e2e kills_by_the_thousand -- --ignored --nocapture

# What a power cut may leave of a node's and of a broker's database: every image of a sync with few writes before it, 80 of any other. The
# figures are kept.
images:
    .ci/record images-broker env WAXWING_IMAGES=1 cargo test --locked -p waxwing-broker --lib images::whatever -- --nocapture
    .ci/record images-node env WAXWING_IMAGES=1 cargo test --locked -p waxwing-node --lib images::whatever -- --nocapture

# 10,000 idle links and a day's mail in minutes: memory and descriptors must stay flat. The figures are kept. It took a minute beside
# another build on 2 cores.
soak:
    .ci/record soak cargo test --locked --test e2e ten_thousand_idle_links -- --ignored --nocapture

# The models of delivery, leases, progress and presence, in every state within bounds: how many states these are is kept. It took 18
# minutes, with the build, on 2 cores that had other work.
models:
    .ci/record models .ci/models

# The code changed one place at a time, area by area (`just mutants membership order`): each took 6 to 30 s on one core. It goes on
# where it was; the figures of all runs are kept.
mutants *AREAS:
    .ci/mutants {{ AREAS }}
    .ci/record mutants .ci/mutants figures

# Presence while nodes, broker and links die by seed, as many times as asked for.
upheavals COUNT="50":
    WAXWING_UPHEAVALS={{ COUNT }} cargo test --locked --test e2e upheavals -- --nocapture

# Fifty apps on five nodes that race for one lease so many times, while nodes and the broker die, and links and single nodes are cut off.
race COUNT="1000":
    WAXWING_RACE={{ COUNT }} cargo test --locked --test e2e fifty_apps -- --nocapture

# How many deliveries a second a topic makes to two hundred who are connected.
fanout:
    cargo run --locked --release -- bench topic --nodes 5 --apps 200 --window 4 --size 200 --messages 1000 --rounds 7

# Waxwing beside a bare model of itself, nats-server, mosquitto and redis-server, in turns, into docs/performance.md: 8 minutes, and the
# machine for itself.
compare ROUNDS="5" SECONDS="5":
    bench/compare --rounds {{ ROUNDS }} --seconds {{ SECONDS }} --into docs/performance.md

# What the hot paths cost beside the committed baseline (bench/check/baseline.json): instructions, by callgrind, and time as a ratio to a
# calibration. `--bless` writes the baseline. Needs valgrind.
bench-check *OPTIONS:
    cargo run --quiet --locked --release --manifest-path bench/check/Cargo.toml -- {{ OPTIONS }}

# A second implementation of the protocol, other WebSocket stacks, and the local API held against its document; keeps the figures.
interop:
    .ci/record interop tests/interop/run

# Two nodes and a broker, a sealed message each way.
demo:
    cargo run --release -- demo

# Fuzzes a target of fuzz/ for TIME seconds, from what is in its corpus. What it finds is in fuzz/found/, a crash in
# fuzz/artifacts/: put its file into fuzz/corpus/TARGET/, and every test run tries it. Needs `cargo install cargo-fuzz`.
fuzz TARGET TIME="60":
    cd fuzz && mkdir -p found/{{ TARGET }} && RUSTC_BOOTSTRAP=1 cargo fuzz run -s none {{ TARGET }} found/{{ TARGET }} corpus/{{ TARGET }} -- -max_total_time={{ TIME }}

# Fuzzes every target until each has had its share: 10,000,000 executions, or half an hour where each costs a signature or a key exchange.
# It can be stopped, and goes on. The figures are kept.
fuzz-all:
    .ci/record fuzz .ci/fuzz
