//! The program as a process: started with arguments, talked to over HTTP, ended, and killed if a test
//! ends early.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

pub(crate) fn ottla(arguments: &[&str]) -> Command {
    // The program as it ships, where that has been built.
    let built = std::env::var_os("OTTLA_TEST_PROGRAM");
    let mut command = Command::new(built.unwrap_or_else(|| env!("CARGO_BIN_EXE_ottla").into()));
    command.args(arguments).env_remove("OTTLA_LOG").env_remove("OTTLA_CONFIG");
    command
}

pub(crate) fn run(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A program that refuses its arguments reads no input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A configuration file that is gone with the value.
pub(crate) struct Config(PathBuf);

impl Config {
    pub(crate) fn new(name: &str, entry: &str) -> Self {
        let folder = std::env::temp_dir();
        let path = folder.join(format!("ottla-{}-{name}.json", std::process::id()));
        let entry = format!(r#"{{"enabled": true, "name": "kafka", "config": {entry}}}"#);
        fs::write(&path, format!(r#"{{"plugins": [{entry}]}}"#)).unwrap();
        Self(path)
    }

    /// A file of TOML.
    pub(crate) fn toml(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ottla-{}-{name}.toml", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A service that goes on until it is told to end.
pub(crate) struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The next address that it logs behind these words.
    pub(crate) fn address_after(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "it ended before it served");
            if let Some((_, rest)) = line.split_once(words) {
                return rest.trim().split('/').next().unwrap().to_owned();
            }
        }
    }

    /// Asks it to end, as a process manager does, and returns its code and the rest of its log.
    pub(crate) fn terminate(mut self) -> (i32, String) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code().unwrap(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status, the head in small letters and the body of an answer to a request that begins with
/// `head`, a line and any headers.
pub(crate) fn http(address: &str, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let size = body.len();
    let head = format!("{head}Host: test\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // It may answer, and close, before it has read a body that it refuses.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = text(&answer[..end]);
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), answer[end + 4..].to_vec())
}

/// The body of an answer.
pub(crate) fn get(address: &str, path: &str) -> String {
    text(&http(address, &format!("GET {path} HTTP/1.1\r\n"), b"").2)
}

/// Where nobody listens.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
