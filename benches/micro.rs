//! Small benchmarks.
fn main() {
    divan::main();
}
