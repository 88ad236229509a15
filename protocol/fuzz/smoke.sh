#!/usr/bin/env bash
# Runs each fuzz target for a few seconds from the test vectors as seeds. Needs Rust and a C++
# compiler, neither cargo-fuzz nor a nightly toolchain: the flags below are those that cargo-fuzz
# passes (without its address sanitizer, as the crate has no unsafe code).
#
#   protocol/fuzz/smoke.sh [SECONDS_PER_TARGET]
#
# Exit code 0 when nothing was found. A finding is left in artifacts/TARGET/ and runs again with
#   target/TRIPLE/release/TARGET artifacts/TARGET/FILE
set -euo pipefail
cd "$(dirname "$0")"

seconds="${1:-10}"
triple="$(rustc -vV | sed -n 's/^host: //p')"

# seeds TARGET FILE SKIP [length]: the messages of a vector file, less SKIP bytes; with `length`,
# behind a two-byte length.
seeds() {
    local target="$1" file="$2" skip="$3" length="${4:-}" number=0 hex
    mkdir -p "corpus/$target"
    while read -r hex; do
        hex="${hex:$((skip * 2))}"
        if [[ -n "$length" ]]; then
            hex="$(printf '%04x' $((${#hex} / 2)))$hex"
        fi
        number=$((number + 1))
        # shellcheck disable=SC2059 # the format is the bytes
        printf "$(sed 's/../\\x&/g' <<<"$hex")" >"corpus/$target/seed-$file-$number"
    done < <(grep -o '"hex": "[0-9A-F]*"' "../tests/vectors/$file.json" | cut -d'"' -f4)
}

for file in cups_unionpay_switch moov_iso87_ascii ascii_binary_bitmap jpos_iso87_ascii; do
    seeds parse "$file" 0
done
seeds parse cups_constructed 50
seeds parse unionpay_pos_tpdu_bcd 11
seeds frame cups_constructed 0
seeds frame unionpay_pos_tpdu_bcd 0 length

flags=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cllvm-args=-simplifycfg-branch-fold-threshold=0
    -Ccodegen-units=1
)
# With a target named, build scripts are not instrumented.
RUSTFLAGS="${flags[*]}" cargo build --release --target "$triple"

for target in parse frame; do
    mkdir -p "artifacts/$target"
    echo "fuzzing $target for $seconds s"
    "target/$triple/release/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" \
        -max_total_time="$seconds" -max_len=2048 -print_final_stats=1 2>&1 | tail -n 12
done
