//! The program in `oracle/`, asked and answered line by line.
//!
//! `run.sh` builds it, and names it in `OTTLA_OTLP_ORACLE`; without that whoever needs it is skipped.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    /// `None` if there is none, which it says.
    pub(crate) fn start() -> Option<Self> {
        let Some(path) = std::env::var_os("OTTLA_OTLP_ORACLE") else {
            println!("skipped: OTTLA_OTLP_ORACLE names no program (tests/otlp/run.sh builds it)");
            return None;
        };
        let (input, output) = (Stdio::piped(), Stdio::piped());
        let mut child = Command::new(path).stdin(input).stdout(output).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Some(Self { child, input, output })
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }

    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the oracle ended");
        line.truncate(line.len() - 1);
        line
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Either fails only where the program has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
