//! The `ottla` program: arguments, signals and exit codes; the rest is [`ottla::cli`].

use clap::Parser;
use ottla::cli::{Cli, Exit};
use std::process::ExitCode;

// With it come the memory functions, which take the places of musl's own by being linked.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: ottla_musl::Allocator = ottla_musl::Allocator::new();

fn main() -> ExitCode {
    // Bad usage ends here, with code 2 and clap's own words.
    let cli = Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit { code, message }) => {
            eprintln!("ottla: {message}");
            ExitCode::from(code)
        }
    }
}
