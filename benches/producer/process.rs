//! The sink as a process of its own, so that its CPU time and its memory are not the bench's.

use super::Fallible;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ends with the value.
pub(crate) struct SinkProcess {
    process: Child,
    pub(crate) address: String,
}

impl SinkProcess {
    /// This program again, as a sink that answers after a while.
    pub(crate) fn start(delay: Duration) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["sink", &delay.as_millis().to_string()]).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let output = process.stdout.take().ok_or("no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { process, address: address.trim().to_owned() })
    }
}

impl Drop for SinkProcess {
    fn drop(&mut self) {
        // It has nothing to lose, and may be gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
