//! Benchmarks of record batches: append, seal with each codec, iterate.

fn main() {
    divan::main();
}
