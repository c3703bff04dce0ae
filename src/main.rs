//! The `ottla` program: arguments, signals and exit codes; the rest is [`ottla::cli`].

// Takes the places of musl's own functions by being linked.
#[cfg(target_env = "musl")]
use ottla_musl as _;

use clap::Parser;
use ottla::cli::{Cli, Exit};
use std::process::ExitCode;

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
