//! A sink that speaks as little Kafka as a producer needs, and acknowledges at once.
//!
//! Checks nothing and keeps nothing, so that it is never what is measured. One thread per connection
//! reads; with a delay, another one answers, so that delays overlap as they do on a long line.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(crate) fn serve(delay: Duration) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let port = listener.local_addr()?.port();
    for stream in listener.incoming() {
        let stream = stream?;
        // A client that is gone is not the sink's trouble.
        std::thread::spawn(move || drop(answer_all(&stream, port, delay)));
    }
    Ok(())
}

fn answer_all(stream: &TcpStream, port: u16, delay: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let (answers, due) = mpsc::channel::<(Instant, Vec<u8>)>();
    if !delay.is_zero() {
        let mut writer = stream.try_clone()?;
        std::thread::spawn(move || {
            for (at, answer) in due {
                std::thread::sleep(at.saturating_duration_since(Instant::now()));
                if writer.write_all(&answer).is_err() {
                    break;
                }
            }
        });
    }
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut request = Vec::new();
    loop {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        request.resize(u32::from_be_bytes(length) as usize, 0);
        reader.read_exact(&mut request)?;
        let Some(answer) = answer(&request, port) else { continue };
        if delay.is_zero() {
            writer.write_all(&answer)?;
        } else if answers.send((Instant::now() + delay, answer)).is_err() {
            return Ok(());
        }
    }
}

/// A whole frame. `None` if the request wants no answer.
fn answer(request: &[u8], port: u16) -> Option<Vec<u8>> {
    let mut request = Cursor(request);
    let (key, version) = (request.i16(), request.i16());
    let mut body = request.take(4).to_vec();
    request.string();
    match (key, version) {
        // Whatever version: the list of a broker that is older than the question.
        (18, _) => {
            put_i16(&mut body, 35);
            put_i32(&mut body, 4);
            for (key, version) in [(0, 7), (3, 1), (18, 0), (22, 0)] {
                [key, version, version].iter().for_each(|number| put_i16(&mut body, *number));
            }
        }
        (3, _) => put_metadata(&mut body, &mut request, port),
        (22, _) => {
            put_i32(&mut body, 0);
            put_i16(&mut body, 0);
            body.extend_from_slice(&1_i64.to_be_bytes());
            put_i16(&mut body, 0);
        }
        _ => put_produced(&mut body, &mut request)?,
    }
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.append(&mut body);
    Some(frame)
}

/// Topics are named for their partitions: `p12` has twelve.
fn put_metadata(body: &mut Vec<u8>, request: &mut Cursor<'_>, port: u16) {
    put_i32(body, 1);
    put_i32(body, 1);
    put_string(body, "127.0.0.1");
    put_i32(body, i32::from(port));
    put_i16(body, -1);
    put_i32(body, 1);
    let topics = request.i32().max(0);
    put_i32(body, topics);
    for _ in 0..topics {
        let name = request.string();
        let partitions = name.trim_start_matches('p').parse().unwrap_or(1);
        put_i16(body, 0);
        put_string(body, name);
        body.push(0);
        put_i32(body, partitions);
        for partition in 0..partitions {
            put_i16(body, 0);
            [partition, 1, 1, 1, 1, 1].iter().for_each(|number| put_i32(body, *number));
        }
    }
}

fn put_produced(body: &mut Vec<u8>, request: &mut Cursor<'_>) -> Option<()> {
    request.string();
    let acks = request.i16();
    request.i32();
    let topics = request.i32();
    put_i32(body, topics);
    for _ in 0..topics {
        put_string(body, request.string());
        let partitions = request.i32();
        put_i32(body, partitions);
        for _ in 0..partitions {
            put_i32(body, request.i32());
            let size = request.i32();
            request.take(size.max(0) as usize);
            put_i16(body, 0);
            [0_i64, -1, 0].iter().for_each(|at| body.extend_from_slice(&at.to_be_bytes()));
        }
    }
    put_i32(body, 0);
    (acks != 0).then_some(())
}

fn put_i16(body: &mut Vec<u8>, number: i16) {
    body.extend_from_slice(&number.to_be_bytes());
}

fn put_i32(body: &mut Vec<u8>, number: i32) {
    body.extend_from_slice(&number.to_be_bytes());
}

fn put_string(body: &mut Vec<u8>, text: &str) {
    put_i16(body, text.len() as i16);
    body.extend_from_slice(text.as_bytes());
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, size: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(size);
        self.0 = rest;
        taken
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take(2).try_into().expect("two bytes"))
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().expect("four bytes"))
    }

    /// A nullable string; null is empty.
    fn string(&mut self) -> &'a str {
        let size = self.i16().max(0) as usize;
        std::str::from_utf8(self.take(size)).expect("UTF-8")
    }
}
