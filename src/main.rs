//! The `ottla` program: arguments, signals and exit codes.
fn main() {}
